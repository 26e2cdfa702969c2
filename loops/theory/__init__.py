"""What theory says of loops: closed forms and effective sample sizes."""

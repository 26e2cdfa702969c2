"""Gate a training job: audit a source over HTTP, print the answers, exit 1 when the verdict says no.

    python examples/service/gate.py s3://bucket/crawl photos --workflow fresh

reads the service's address from MADAUDIT_URL and the key from MADAUDIT_KEY.
"""

import argparse
import os
import sys

from service.client import Client, ClientError


def main() -> int:
    """0 to train, 1 not to, 2 when the question was wrong or the audit failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("reference")
    parser.add_argument("--workflow")
    given = parser.parse_args()
    url, key = os.environ.get("MADAUDIT_URL", "http://127.0.0.1:8350"), os.environ.get("MADAUDIT_KEY")
    try:
        with Client(url, key) as client:
            job = client.audit(given.source, given.reference, workflow=given.workflow)
    except ClientError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    if job.result is None:
        print(f"gate: the audit {job.state}: {job.error}", file=sys.stderr)
        return 2
    fraction = job.result["synthetic_fraction"]
    print(f"{job.verdict}: synthetic fraction {fraction['low']:.3f} to {fraction['high']:.3f} ({fraction['status']})")
    return int(job.verdict == "fail")


if __name__ == "__main__":
    sys.exit(main())

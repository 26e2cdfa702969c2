CREATE TABLE IF NOT EXISTS reference_sets (
    name VARCHAR PRIMARY KEY,
    identity VARCHAR NOT NULL,
    built TIMESTAMP NOT NULL,
    summary JSON NOT NULL
);
CREATE TABLE IF NOT EXISTS audits (
    folder VARCHAR PRIMARY KEY,
    reference VARCHAR NOT NULL,
    finished TIMESTAMP NOT NULL,
    verdict VARCHAR NOT NULL,
    n_items BIGINT NOT NULL,
    synthetic_low DOUBLE,
    synthetic_estimate DOUBLE,
    synthetic_high DOUBLE,
    diversity_loss DOUBLE
);

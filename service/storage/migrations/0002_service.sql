-- The service: jobs, keys, what was asked by whom; and of an audit its source, risk and checks.
ALTER TABLE reference_sets ADD COLUMN owner VARCHAR;
ALTER TABLE audits ADD COLUMN source VARCHAR;
ALTER TABLE audits ADD COLUMN mad_risk DOUBLE;
CREATE TABLE checks (
    folder VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    value DOUBLE,
    reason VARCHAR NOT NULL
);
CREATE TABLE jobs (
    id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    owner VARCHAR NOT NULL,
    request JSON NOT NULL,
    created TIMESTAMP NOT NULL,
    started TIMESTAMP,
    finished TIMESTAMP,
    done BIGINT NOT NULL DEFAULT 0,
    total BIGINT NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    outcome JSON,
    error VARCHAR
);
CREATE TABLE idempotency_keys (
    owner VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    job VARCHAR NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE api_keys (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    scopes VARCHAR NOT NULL,
    created TIMESTAMP NOT NULL,
    revoked TIMESTAMP
);
CREATE TABLE audit_log (
    moment TIMESTAMP NOT NULL,
    key VARCHAR,
    method VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    status INTEGER NOT NULL,
    remote VARCHAR
);

"""Gate a training job: audit a source over HTTP, print what decided, exit as `madaudit audit` does.

    python examples/service/gate.py s3://bucket/crawl photos --workflow fresh

reads the service's address from MADAUDIT_URL and the key from MADAUDIT_KEY.
"""

import argparse
import os
import sys

from service.client import Client, ClientError


def main() -> int:
    """0 to train, 1 not to, 4 when the audit cannot tell, 2 for a wrong question, a service that is down or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("reference")
    parser.add_argument("--workflow")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a full or absent service")
    given = parser.parse_args()
    url, key = os.environ.get("MADAUDIT_URL", "http://127.0.0.1:8350"), os.environ.get("MADAUDIT_KEY")
    try:
        with Client(url, key, patience=given.patience) as client:
            job = client.audit(given.source, given.reference, workflow=given.workflow)
    except ClientError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    if job.result is None:
        print(f"gate: the audit {job.state}: {job.error}", file=sys.stderr)
        return 2
    print(f"{job.verdict}: {job.id}")
    for check in job.audit.checks:
        if check.name in job.audit.required:
            print(f"  {check.status}: {check.name.replace('_', ' ')}, {check.reason}")
    return {"fail": 1, "undetermined": 4}.get(job.verdict or "", 0)


if __name__ == "__main__":
    sys.exit(main())

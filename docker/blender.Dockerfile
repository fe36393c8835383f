# Blender as a Python module, with PyBullet: an environment apart from the rest of Triptych.
#   docker build -f docker/blender.Dockerfile -t triptych-blender:0.1.0 .
FROM python:3.11.14-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# bpy links these, although it draws on no screen. Debian keeps one version of each.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libgl1 libice6 libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 1000 --create-home triptych \
    && install --directory --owner=triptych --group=triptych /data

WORKDIR /app

COPY docker/blender-requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps -r blender-requirements.txt \
    && pip check

USER 1000:1000

HEALTHCHECK --interval=60s --timeout=30s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import av, bpy, pybullet"]

CMD ["python"]

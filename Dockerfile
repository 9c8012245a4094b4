# Restores photos on a CPU, as a user without privileges:
#   docker build -t lightendiff .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/photos" lightendiff restore dark.jpg -o restored
# 16-bit colour is read by OpenCV's headless build, since there is no libGL here.
FROM python:3.13-slim

COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE /source/
COPY lightendiff /source/lightendiff
COPY configs /source/configs
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend cpu "/source[heic,raw]" opencv-python-headless \
    && pip uninstall --yes uv \
    && rm -r /source \
    && useradd --create-home lightendiff

USER lightendiff
ENV XDG_CACHE_HOME=/tmp
WORKDIR /photos
ENTRYPOINT ["lightendiff"]
CMD ["--help"]

# What images/build build makes from Debian's packages, from a registry: docker build -f images/build.Dockerfile images
FROM debian:bookworm-20250520-slim
COPY build.packages /tmp/packages
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends < /tmp/packages \
 && rm -rf /var/lib/apt/lists/* /tmp/packages

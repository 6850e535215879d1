# What images/build minimal makes from Debian's package busybox-static, from a registry: docker build -f images/minimal.Dockerfile images
FROM debian:bookworm-20250520-slim AS packages
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static \
 && mkdir -p /image/bin /image/tmp && cp /bin/busybox /image/bin/ \
 && /bin/busybox --list | grep -vx busybox | xargs -I{} ln -s busybox /image/bin/{}
FROM scratch
COPY --from=packages /image /

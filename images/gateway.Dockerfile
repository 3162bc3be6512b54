# The image of the executable without an engine: gateways, workers, migrations, and all of Jan where
# models run elsewhere. `just image gateway` builds it; docs/images.md tells how it is made and used.

# Pin it by digest for a release: BASE=debian:13-slim@sha256:...
ARG BASE=debian:13-slim

# What the executable unpacks itself to, once here rather than in each container. It ends with the
# stage, so that the image has the program once.
FROM ${BASE} AS unpacked
COPY jan /jan
RUN JAN_CACHE=/cache /jan --version \
    && mv /cache/jan-* /program \
    && mkdir /home/jan \
    && echo 'jan:x:10001:10001:Jan:/var/lib/jan:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'jan:x:10001:' >> /etc/group

FROM ${BASE}
ARG BASE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="Jan" \
      org.opencontainers.image.description="A private AI platform: an OpenAI-compatible gateway." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"

COPY --from=unpacked /etc/passwd /etc/group /etc/
COPY --from=unpacked --chown=10001:10001 /home/jan /var/lib/jan
COPY --from=unpacked /program /opt/jan
COPY sbom.cdx.json /opt/jan/sbom.cdx.json

# The authorities are those of certifi, which the locks name: the base has none.
ENV PATH=/opt/jan:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/jan \
    JAN_HOME=/var/lib/jan \
    JAN_HOST=0.0.0.0 \
    SSL_CERT_FILE=/opt/jan/_internal/certifi/cacert.pem
USER 10001:10001
WORKDIR /var/lib/jan
VOLUME /var/lib/jan
# The API, and metrics for who runs it.
EXPOSE 8080 6060
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["jan", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez')"]
ENTRYPOINT ["jan"]
CMD ["serve"]

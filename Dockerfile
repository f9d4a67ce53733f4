# The service as a container. It keeps its data in the PostgreSQL of DATABASE_URL (15 to 18) and refuses to start without:
# there is no embedded database inside. JWT_SIGNING_KEY_FILE or JWT_JWKS_URL is needed too, see README.md.
#
#   docker build -t rapport .
#   docker run -p 3000:3000 -e DATABASE_URL=postgres://… -v ./key.pem:/key.pem:ro -e JWT_SIGNING_KEY_FILE=/key.pem rapport
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

# The root of the image: Node.js with the libraries it is linked to, and the service with what it imports. No shell, no
# package manager, and a quarter of the size.
WORKDIR /image/app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts \
 && rm -r package-lock.json node_modules/.package-lock.json \
 # Types, source maps, documentation and tests of packages; licences stay.
 && find node_modules -type f ! -iname 'licen[cs]e*' ! -iname 'notice*' \( -name '*.map' -o -name '*.md' -o -name '*.markdown' \
      -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.flow' \) -delete \
 && for unused in test tests __tests__ docs example examples benchmark benchmarks .github; do \
      rm -rf node_modules/[!@]*/$unused node_modules/@*/*/$unused; \
    done \
 && cp -r /build/.build /build/migrations /build/schema . \
 && for file in /usr/local/bin/node $(ldd /usr/local/bin/node | grep -o '/[^ )]*'); do \
      cp --parents --dereference "$file" /image; \
    done \
 && mkdir -p /image/etc && install -d -m 1777 /image/tmp \
 && echo 'node:x:1000:1000::/app:/nonexistent' >/image/etc/passwd \
 && echo 'node:x:1000:' >/image/etc/group \
 && echo 'hosts: files dns' >/image/etc/nsswitch.conf

FROM scratch
COPY --from=build /image /
WORKDIR /app
# node, as a number: Kubernetes cannot tell that a name is not root.
USER 1000:1000
ENV PATH=/usr/local/bin NODE_ENV=production HOST=0.0.0.0 PORT=3000 RAPPORT_EMBEDDED_DATABASE=false
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=5s --start-period=40s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Without a shell in between, so that SIGTERM arrives: readiness turns, what is in flight is finished, exit code 0.
# The young generation of Node.js 24 grows with the machine (240 MB resident after the start); 16 MB are those of Node.js 20.
CMD ["node", "--max-semi-space-size=8", ".build/server.js"]

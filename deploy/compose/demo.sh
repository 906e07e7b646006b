#!/bin/sh
# Registers a demo server and prints its key. Each run creates another key.
set -eu
admin() { holdfast admin --json "$@"; }
value() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
email=demo@example.com
directory=/srv/servers/demo

if [ ! -d "$directory" ]; then
    mkdir -p "$directory/world"
    echo "motd=A demo server" >"$directory/server.properties"
    head -c 4000000 /dev/urandom >"$directory/world/region.mca"
fi
admin user list | grep -q "\"$email\"" || admin user create --email "$email" >/dev/null
server=$(admin server list | tr '{' '\n' | grep -F "\"$directory\"" | value identifier || true)
if [ -z "$server" ]; then
    server=$(admin server create --owner "$email" --name Demo --dir "$directory" | value identifier)
fi
key=$(admin key create --user "$email" --description "docker compose --profile demo" | value token)
echo "The demo server is registered. Make its first backup with:"
echo "curl -k -X POST $HOLDFAST__HTTP__PUBLIC_URL/api/client/servers/$server/backups -H 'Authorization: Bearer $key'"

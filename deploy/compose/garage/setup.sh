#!/bin/sh
# Creates Garage's layout, Holdfast's key and the bucket, unless they exist.
set -eu
BUCKET=holdfast
# Garage uses this value only to balance data between nodes; it is no limit.
CAPACITY=${GARAGE_CAPACITY:-100G}

if /garage layout show | grep -q 'layout version: 0$'; then
    node=$(/garage node id -q)
    /garage layout assign -z local -c "$CAPACITY" "${node%%@*}"
    /garage layout apply --version 1
fi
id=$(cat /run/secrets/garage/s3-id)
/garage key info "$id" >/dev/null 2>&1 ||
    /garage key import --yes -n holdfast "$id" "$(cat /run/secrets/garage/s3-secret)" >/dev/null
/garage bucket info "$BUCKET" >/dev/null 2>&1 || /garage bucket create "$BUCKET" >/dev/null
/garage bucket allow --read --write --key "$id" "$BUCKET" >/dev/null
echo "the bucket $BUCKET exists, and the key $id may read and write it"

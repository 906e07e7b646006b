#!/bin/sh
# Creates the secrets of docker-compose.yml that do not exist yet, and sets the owners of folders. Each secret is written
# only to the volumes of the services that need it. Only names are printed.
set -eu
umask 077
OWNER=10001

# Prints $1 random bytes as hexadecimal digits.
random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Writes a secret: FILE MODE OWNER TEXT. It is written to a temporary file first, so it is complete or absent.
keep() {
    printf '%s' "$4" >"$1.new"
    chmod "$2" "$1.new"
    chown "$3" "$1.new"
    mv "$1.new" "$1"
    echo "made $1"
}
# Writes a secret unless it exists.
once() { [ -s "$1" ] || keep "$@"; }

# The services run as different users, so files are readable by all. Only services that mount a volume can read it.
chmod 755 /secrets/holdfast /secrets/postgres /secrets/garage
once /secrets/postgres/password 444 0 "$(random 24)"
password=$(cat /secrets/postgres/password)
once /secrets/holdfast/database-url 444 0 "postgres://holdfast:$password@postgres:5432/holdfast"
once /secrets/holdfast/signing.key 444 0 "$(random 32)"
once /secrets/holdfast/s3-id 444 0 "GK$(random 12)"
once /secrets/holdfast/s3-secret 444 0 "$(random 32)"
once /secrets/garage/rpc.secret 400 $OWNER "$(random 32)"
for name in s3-id s3-secret; do
    once "/secrets/garage/$name" 400 $OWNER "$(cat "/secrets/holdfast/$name")"
done

# Create the folder of the disk `local` as well. Otherwise the first service to start would own it. The worker is root or
# a user of this group, and the API reads the archives that it stores.
mkdir -p /owned/holdfast/backups
chown $OWNER:$OWNER /owned/* /owned/holdfast/backups
chmod 2770 /owned/holdfast/backups

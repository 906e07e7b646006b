#!/bin/sh
# Makes the secrets of docker-compose.yml that are not there yet, once and for all, and gives folders to those who use
# them. Each secret lies only in the volumes of the services that need it. Nothing is printed but names.
set -eu
umask 077
OWNER=10001

# $1 bytes of randomness, as hexadecimal digits.
random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Writes a secret under a name of its own first, so that it is whole or absent: FILE MODE OWNER TEXT.
keep() {
    printf '%s' "$4" >"$1.new"
    chmod "$2" "$1.new"
    chown "$3" "$1.new"
    mv "$1.new" "$1"
    echo "made $1"
}
# The same where there is none yet.
once() { [ -s "$1" ] || keep "$@"; }

# A process that reads its volume may be another user in another image: the volume is what keeps others out.
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

# The folder of the disk `local` too: whoever started first would make it its own. The worker may be root, or another
# user in this group, and the API reads what it stores.
mkdir -p /owned/holdfast/backups
chown $OWNER:$OWNER /owned/* /owned/holdfast/backups
chmod 2770 /owned/holdfast/backups

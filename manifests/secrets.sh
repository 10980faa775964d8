#!/bin/sh
# Prints the Secrets of base/secret.example.yaml with random values. Nothing is written to disk.
#   manifests/secrets.sh | kubectl create --namespace kubeflow -f -
# `create`, not `apply`: what is there already is left alone, and its password keeps fitting its database.
set -eu
awk '
    /^ *#/ { next }
    /CHANGE-ME$/ {
        command = "head -c 20 /dev/urandom | od -An -vtx1 | tr -d \" \\n\" | base64 | tr -d \"\\n\""
        command | getline value; close(command)
        sub(/CHANGE-ME$/, value)
    }
    { print }
' "$(dirname "$0")/base/secret.example.yaml"

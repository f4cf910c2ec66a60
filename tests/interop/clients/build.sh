#!/usr/bin/env bash
# Builds client programs of other languages for tests/interop/test_other_clients.py, each at build/clients/NAME:
#   tests/interop/clients/build.sh [NAME ...]     e.g. go-0.21.0 java-4.0.7; without a name all of them
# What can't be built here for want of a tool, or of a new one, is left out, and build/clients/NAME.skipped says why.
# `tools/setup interop-clients` installs what Debian has.
set -uo pipefail
cd "$(dirname "$0")/../../.."
out=$PWD/build/clients
go_versions="0.9.0 0.13.1 0.16.0 0.21.0"
java_version=4.0.7

skip() { # NAME REASON: an older build of it is not used either
    rm -rf "${out:?}/$1"
    echo "$2" >"$out/$1.skipped"
    echo "  SKIP  $1: $2"
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; } # $2 is $1 or newer

build_go() { # VERSION
    local name=go-$1 needs have tags=
    needs=$(sed -n 's/^go //p' "tests/interop/clients/go/$1.mod")
    [ -n "$needs" ] || { echo "build.sh: no client '$name'" >&2; return 2; }
    command -v go >/dev/null || { skip "$name" "there is no go"; return; }
    have=$(go env GOVERSION) have=${have#go}
    at_least "$needs" "$have" || { skip "$name" "needs Go $needs or newer, this is $have"; return; }
    [ "$1" != 0.9.0 ] || tags=nochunking
    echo "  GO    build/clients/$name"
    (cd tests/interop/clients/go && GOTOOLCHAIN=local go build -buildvcs=false -modfile="$1.mod" -tags "$tags" -o "$out/$name" .) || return 1
    rm -f "$out/$name.skipped"
}

build_java() { # VERSION
    local name=java-$1 classes=$out/java-$1.classes path tool
    [ "$1" = "$java_version" ] || { echo "build.sh: no client '$name'" >&2; return 2; }
    for tool in javac mvn; do
        command -v "$tool" >/dev/null || { skip "$name" "there is no $tool"; return; }
    done
    path=$(tools/pulsar-classpath pulsar-client "$1" org.slf4j:slf4j-simple) || return 1
    echo "  JAVAC build/clients/$name"
    mkdir -p "$classes"
    javac -Xlint:all -Werror -cp "$path" -d "$classes" tests/interop/clients/java/LoadClient.java || return 1
    cat >"$out/$name" <<RUN
#!/bin/sh
exec java -Xmx512m -XX:TieredStopAtLevel=1 -cp "$classes:$path" LoadClient "\$@"
RUN
    chmod +x "$out/$name"
    rm -f "$out/$name.skipped"
}

mkdir -p "$out"
[ $# -gt 0 ] || set -- $(printf 'go-%s ' $go_versions) "java-$java_version"
failed=0
for name in "$@"; do
    case $name in
    go-*) build_go "${name#go-}" ;;
    java-*) build_java "${name#java-}" ;;
    *) echo "build.sh: no client '$name'" >&2; false ;;
    esac || failed=1
done
exit "$failed"

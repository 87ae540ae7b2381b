#!/usr/bin/env bash
# Usage: container/sbom.sh IMAGE [NAME]
#
# Prints a software bill of materials of a local image, CycloneDX 1.6 JSON: its Python distributions and Debian packages.
# NAME is what the image is called in it, such as repository@sha256:…; default IMAGE.

set -Eeuo pipefail

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "sbom.sh: $*" >&2
  exit 1
}

# Lines "kind name version", as the image itself knows them.
list_packages() {
  docker run --rm --network none --entrypoint sh "$1" -c '
    dpkg-query --show --showformat="deb \${Package} \${Version}\n" 2>/dev/null
    python3 -c "
import importlib.metadata as m
for found in m.distributions():
    print(\"pypi\", found.metadata[\"Name\"], found.version)
" 2>/dev/null || true'
}

main() {
  [[ ${1:-} != -h && ${1:-} != --help ]] || { usage && return; }
  [[ -n ${1:-} ]] || die "which image? Received: nothing. container/sbom.sh --help says more."
  docker image inspect "$1" >/dev/null 2>&1 || die "there is no such image on this machine. Received: $1."
  list_packages "$1" | sort -u | python3 -c '
import json, sys, urllib.parse as u
name, components = sys.argv[1], []
for kind, package, version in map(str.split, sys.stdin):
    low = package.lower().replace("_", "-") if kind == "pypi" else f"debian/{package}"
    purl = f"pkg:{kind}/{low}@{u.quote(version)}"
    components.append({"type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl})
image = {"type": "container", "bom-ref": name, "name": name}
json.dump({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": image},
           "components": components}, sys.stdout, indent=1)
print()
' "${2:-$1}"
}

main "$@"

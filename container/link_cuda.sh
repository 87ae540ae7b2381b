#!/usr/bin/env bash
# Usage: container/link_cuda.sh SITE-PACKAGES
#
# Makes TensorFlow find CUDA's libraries as pip lays them out, and fails if it would not. TensorFlow opens them from
# libtensorflow_framework.so.2, whose RUNPATH (of version 2.21) leaves out nvidia/cusolver/lib: with a single library
# missing it ignores every GPU, in a log line that nobody reads, and trains on the processor. Needs no GPU; gcc, readelf.

set -Eeuo pipefail

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "container/link_cuda.sh: $*" >&2
  exit 1
}

# what TensorFlow opens before it uses a GPU (tsl/platform/default/dso_loader.cc), and NCCL
readonly OPENED=(libcublas.so.12 libcublasLt.so.12 libcudart.so.12 libcudnn.so.9 libcufft.so.11 libcupti.so.12
  libcusolver.so.11 libcusparse.so.12 libnccl.so.2)

# the folders that a library beside TensorFlow's is looked for in
runpath() {
  readelf --dynamic "$1" | sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p' | tr ':' '\n' | awk '!seen[$0]++' | paste -sd :
}

# opens each library as TensorFlow does: from a library in its folder, with its RUNPATH
check() {
  local site=$1 probe=$1/tensorflow/libprobe.so path
  path=$(runpath "$site/tensorflow/libtensorflow_framework.so.2")
  [[ -n $path ]] || die "$site/tensorflow/libtensorflow_framework.so.2 has no RUNPATH. Is it TensorFlow for Linux?"
  gcc -shared -fPIC -Wl,--enable-new-dtags -Wl,-rpath,"$path" -o "$probe" -x c - <<'C'
#include <dlfcn.h>
#include <stddef.h>
const char *probe(const char *name) { return dlopen(name, RTLD_NOW) ? NULL : dlerror(); }
C
  local code=0
  python3 - "$probe" "${OPENED[@]}" <<'PYTHON' || code=$?
import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.probe.restype = ctypes.c_char_p
errors = [error.decode() for name in sys.argv[2:] if (error := library.probe(name.encode()))]
sys.exit("\n".join(errors) or None)
PYTHON
  rm "$probe"
  ((!code)) || die "TensorFlow would not find the libraries above, and ignore every GPU."
}

main() {
  [[ ${1:-} != -h && ${1:-} != --help ]] || { usage && return; }
  (($# == 1)) || die "one argument is needed, the site-packages folder. Received: $#."
  [[ -d $1/nvidia ]] || die "$1 has no CUDA libraries (nvidia/). Install requirements-gpu.txt first."
  ln -sf ../../cusolver/lib/libcusolver.so.11 "$1/nvidia/cusparse/lib/"
  check "$1"
}

main "$@"

#!/bin/sh
# Installs wavemill into a prefix: a virtual environment of its own, with the pinned versions of constraints.txt.
# Given again it brings the prefix up to date.
set -eu

usage() {
  cat >&2 <<TEXT
usage: install.sh [--extras A,B] [--python PROGRAM] [--constraint FILE] [--cache DIR] PREFIX [SOURCE]

  SOURCE        a checkout or a wheel; the checkout that this script is in when unset
  --extras      such as kafka,api (pyproject.toml has them); none when unset
  --constraint  versions to install; constraints.txt of SOURCE, or of this script's checkout, when unset
  --cache       a folder to make for weights and temporary files, which any user may write
TEXT
  exit 2
}

refuse() {
  echo "install.sh: $1" >&2
  exit 2
}

extras='' python='' constraint='' cache=''
while test $# -gt 0; do
  case $1 in
    --extras | --python | --constraint | --cache)
      test $# -gt 1 || usage
      case $1 in
        --extras) extras=$2 ;;
        --python) python=$2 ;;
        --constraint) constraint=$2 ;;
        --cache) cache=$2 ;;
      esac
      shift 2
      ;;
    -*) usage ;;
    *) break ;;
  esac
done
test $# -eq 1 || test $# -eq 2 || usage

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
prefix=$1 source=${2:-$here}
case $source in
  *.whl) test -f "$source" || refuse "$source: no such wheel" ;;
  *) test -f "$source/pyproject.toml" || refuse "$source is neither a wheel nor a checkout" ;;
esac
if test -z "$constraint"; then
  constraint=$source/constraints.txt
  test -f "$constraint" || constraint=$here/constraints.txt
fi
test -f "$constraint" || refuse "$constraint: no such file; give the pins with --constraint"
if test -d "$prefix" && ! test -f "$prefix/pyvenv.cfg" && test -n "$(ls -A "$prefix")"; then
  refuse "$prefix holds other things; give an empty folder"
fi

if ! test -x "$prefix/bin/pip"; then
  found=''
  for one in ${python:-python3.11 python3.12 python3}; do
    if "$one" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
      found=$one
      break
    fi
  done
  test -n "$found" || refuse 'wavemill needs Python 3.11 or 3.12 with its venv module; name one with --python'
  "$found" -m venv "$prefix"
fi
# what is run below may not pick up modules from the folder it is called in
export PYTHONSAFEPATH=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
pip="$prefix/bin/python -m pip"
before=$($pip show --quiet wavemill 2>/dev/null && echo yes || true)
$pip install --quiet --constraint "$constraint" "$source${extras:+[$extras]}"
case $before$source in
  yes*.whl) $pip install --quiet --no-deps --force-reinstall "$source" ;; # pip keeps what is there when its version is the wheel's
esac
$pip check
case ,$extras, in
  *,gpu,*) # both own the module `onnxruntime`, and others need the first by name: the second has to be what is there last
    $pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
    $pip install --quiet --no-deps --constraint "$constraint" onnxruntime-gpu
    ;;
esac
if test -n "$cache"; then
  mkdir -p "$cache"
  chmod 1777 "$cache"
fi
"$prefix/bin/wavemill" --version
"$prefix/bin/wavemill" doctor

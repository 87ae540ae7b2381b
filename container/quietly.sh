#!/usr/bin/env bash
# Usage: container/quietly.sh [--log FILE] WHAT COMMAND [ARGUMENT…]
#
# Runs a command that takes long and says much, or nothing. Its output is kept back and shown only if it fails; meanwhile
# a line every few seconds tells that WHAT is still done, for how long, and what the command said last. Exits as it does.
# Ctrl-C ends both without a word.
#
#   --log FILE  add the output to FILE, and never show it: the caller does
#   INTERVAL    (environment) seconds between two lines; default 9

set -Eeuo pipefail

readonly INTERVAL=${INTERVAL:-9}

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "quietly.sh: $*" >&2
  exit 2
}

# What the command said last, in words: of a line that a program redraws its last state, without what sets colours or moves
# a cursor. Docker's names of layers, and what says that one was removed, tell nobody how far it is.
last_line() {
  tail -c 4000 "$1" | tr '\r' '\n' | LC_ALL=C.UTF-8 sed -E "$PLAIN" |
    grep --text '[[:alpha:]]' | grep --text --invert-match -E '^( --->|Removing intermediate)' | tail -n 1 || true
}
# first whole sequences (ESC [ … letter, ESC ] … BEL), then all else that is no character
readonly PLAIN=$'s/\e\\[[0-?]*[ -/]*[@-~]|\e\\][^\a\e]*(\a|\e\\\\)?//g; s/\t/ /g; s/[^[:print:]]//g; s/^ {2,}| +$//g'

# As much of a line as the terminal is wide; 120 characters where there is none.
shorten() {
  local columns
  columns=$(stty size <&2 2>/dev/null | cut -d ' ' -f 2) || true
  ((${columns:-0} > 1)) || columns=120
  ((${#1} < columns)) && echo "$1" || echo "${1:0:columns-2}…"
}

# What was said already is not said again. Ends by itself once the command's shell is gone, however that ended. A sleep
# that outlives it keeps no pipe open.
tell() {
  local what=$1 log=$2 said before=""
  SECONDS=0
  while sleep "$INTERVAL" >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    said=$(last_line "$log")
    [[ $said != "$before" ]] && before=$said || said=""
    shorten "$(printf '%s: %d:%02d%s' "$what" $((SECONDS / 60)) $((SECONDS % 60)) "${said:+, $said}")" >&2
  done
}

own="" # a log that nobody else wants
main() {
  local log="" what status=0
  case ${1:-} in
    -h | --help) usage && return ;;
    --log) log=${2:-} && shift 2 ;;
  esac
  (($# > 1)) || die "nothing to run. Received: ${*:-nothing}. Expected: WHAT COMMAND."
  what=$1 && shift
  [[ -n $log ]] || own=$(mktemp)
  log=${log:-$own}
  # the command stays in the foreground, where Ctrl-C reaches it; what it says of that is of no use
  trap 'trap - INT && kill -INT $$' INT
  tell "$what" "$log" &
  trap 'kill $! 2>/dev/null; [[ -z $own ]] || rm -f "$own"' EXIT
  "$@" >>"$log" 2>&1 || status=$?
  ((!status)) || [[ -z $own ]] || cat "$own" >&2
  return "$status"
}

main "$@"

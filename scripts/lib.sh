# shellcheck shell=bash
# Shared by the scripts here: messages, the machine's distribution, root rights, the cache folder.
# Sourced, never run. Messages go to standard error; standard output is for data.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; [ $# -lt 2 ] || say "hint: $2"; exit 1; }

# Prints `debian` (Debian, Ubuntu and their kin), `fedora` (Fedora, RHEL and their kin) or `unknown`.
distribution_family() {
  local id="" like=""
  if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    id=$(. /etc/os-release; printf '%s' "${ID-}")
    # shellcheck source=/dev/null
    like=$(. /etc/os-release; printf '%s' "${ID_LIKE-}")
  fi
  case " $id $like " in
    *" debian "*|*" ubuntu "*) echo debian ;;
    *" fedora "*|*" rhel "*|*" centos "*) echo fedora ;;
    *) echo unknown ;;
  esac
}

# Prints the distribution's id and version, as in `debian-12`; names folders in the cache.
distribution_id() {
  # shellcheck source=/dev/null
  ( . /etc/os-release 2>/dev/null; printf '%s-%s\n' "${ID:-unknown}" "${VERSION_ID:-rolling}" )
}

# Runs a command as root: as it is when root, else through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "root is needed for: $*" "run it as root, or install sudo"
  fi
}

# Prints the folder that outlives a run: HALLMARK_CACHE, /var/cache/hallmark for root, else the user's own.
cache_dir() {
  if [ -n "${HALLMARK_CACHE-}" ]; then printf '%s\n' "$HALLMARK_CACHE"
  elif [ "$(id -u)" = 0 ]; then echo /var/cache/hallmark
  else printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/hallmark"
  fi
}

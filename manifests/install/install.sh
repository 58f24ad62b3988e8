#!/bin/sh
# Installs Dunlin on a machine with systemd, or into the root folder of a card that will be flashed. Needs nothing but this folder, the
# binary, and a POSIX shell with the usual tools; fetches nothing.
set -eu

usage() {
    cat <<END
Usage:
  $0 coordinator [--binary FILE] [--advertise HOST:PORT] [--root DIR]
  $0 node --join TOKEN | --join-file FILE [--coordinator HOST:PORT] [--name NAME] [--label KEY=VALUE]...
          [--binary FILE] [--root DIR]
  $0 uninstall [--keep-state] [--root DIR]

  --binary FILE     the dunlin binary for that machine [default: dunlin beside this script]
  --root DIR        install into this folder, for instance a mounted card; nothing is started then
  --keep-state      leave /var/lib/dunlin: identity, pods and modules of a node, or a coordinator's cluster; and
                    /etc/dunlin, its configuration

A token comes from 'dunlin node token create' on the coordinator. A node that has joined keeps its identity in
/var/lib/dunlin; installing again only replaces binary and units.
END
}

fail() {
    echo "install: $1" >&2
    exit 1
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=""
binary="$here/dunlin"
join="" join_file="" coordinator="" advertise="" name="" labels="" keep_state=""

# Values end up in YAML between single quotes.
plain() {
    case $2 in
    *"'"* | *"
"*) fail "$1: quotes and line breaks are not allowed" ;;
    esac
}

[ $# -gt 0 ] || { usage >&2; exit 64; }
mode=$1
shift
case $mode in
coordinator | node | uninstall) ;;
-h | --help | help) usage; exit 0 ;;
*) usage >&2; exit 64 ;;
esac

while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
    --keep-state) keep_state=yes; continue ;;
    -h | --help) usage; exit 0 ;;
    --binary | --root | --join | --join-file | --coordinator | --advertise | --name | --label) ;;
    *) echo "install: unknown option $option" >&2; usage >&2; exit 64 ;;
    esac
    [ $# -gt 0 ] || fail "$option needs a value"
    value=$1
    shift
    plain "$option" "$value"
    case $option in
    --binary) binary=$value ;;
    --root) root=${value%/} ;;
    --join) join=$value ;;
    --join-file) join_file=$value ;;
    --coordinator) coordinator=$value ;;
    --advertise) advertise=$value ;;
    --name) name=$value ;;
    --label) labels="$labels${labels:+, }'$value'" ;;
    esac
done

if [ -n "$root" ]; then
    [ -d "$root" ] || fail "$root is not a folder"
else
    [ "$(id -u)" = 0 ] || fail "must run as root (or with --root DIR for a card)"
    if [ "$mode" != uninstall ]; then
        [ -d /run/systemd/system ] || fail "this machine does not run systemd; start 'dunlin $mode' with what it has"
    fi
fi

units=/etc/systemd/system
program=/usr/local/bin/dunlin

has_systemd() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

# A token that is none is noticed while somebody is there to see it, and takes no good one's place. The binary may be for another
# processor, so it cannot be asked.
check_token() {
    case $1 in
    *[!]0-9A-Za-z.:,_[%-]*) ;;
    dunlin1.????????.????????????????????????????????.????????????????????????????????????????????????????????????????) return 0 ;;
    dunlin1.????????.????????????????????????????????.????????????????????????????????????????????????????????????????.?*) return 0 ;;
    esac
    fail "$2 is no join token: one has the form dunlin1.ID.SECRET.CA, from 'dunlin node token create'"
}

# Whole or not at all, also when the power goes: a card is often pulled too early.
place() {
    install -d -m 0755 "$(dirname -- "$root$3")"
    install -m "$2" "$1" "$root$3.new"
    sync "$root$3.new" 2>/dev/null || sync
    mv -f "$root$3.new" "$root$3"
}

# Ends every process of the installed binary: runners outlive their agent on purpose.
end_processes() {
    for signal in TERM KILL; do
        tries=20
        while [ $tries -gt 0 ]; do
            left=""
            for exe in /proc/[0-9]*/exe; do
                target=$(readlink "$exe" 2>/dev/null) || continue
                case $target in
                "$program" | "$program (deleted)" | "$program.new (deleted)")
                    pid=${exe#/proc/}
                    left="$left ${pid%/exe}"
                    ;;
                esac
            done
            [ -n "$left" ] || return 0
            # shellcheck disable=SC2086 # a list of numbers
            [ $tries -lt 20 ] || kill -s $signal $left 2>/dev/null || true
            sleep 0.5
            tries=$((tries - 1))
        done
    done
}

uninstall() {
    if has_systemd; then
        # The agent first: nobody ends pods in order that are removed for good.
        for unit in dunlin-edge-node dunlin-edge-node-shutdown dunlin-coordinator; do
            systemctl disable --now "$unit.service" 2>/dev/null || true
        done
    fi
    [ -n "$root" ] || end_processes
    rm -f "$root$units/dunlin-edge-node.service" "$root$units/dunlin-coordinator.service" \
        "$root$units/dunlin-edge-node-shutdown.service" \
        "$root$units/multi-user.target.wants/dunlin-edge-node-shutdown.service" \
        "$root$units/multi-user.target.wants/dunlin-edge-node.service" \
        "$root$units/multi-user.target.wants/dunlin-coordinator.service" "$root$program" "$root$program.new"
    if [ -z "$keep_state" ]; then
        rm -rf "$root/etc/dunlin" "$root/var/lib/dunlin"
    fi
    if has_systemd; then
        systemctl daemon-reload
        systemctl reset-failed 'dunlin-*' 2>/dev/null || true
    fi
    echo "uninstalled${keep_state:+; state is kept in $root/var/lib/dunlin, configuration in $root/etc/dunlin}"
}

write_config() {
    config="$root/etc/dunlin/config.yaml"
    install -d -m 0755 "$root/etc/dunlin"
    if [ -n "$join" ]; then
        (umask 077 && printf '%s\n' "$join" >"$root/etc/dunlin/join-token.new")
        mv -f "$root/etc/dunlin/join-token.new" "$root/etc/dunlin/join-token"
    fi
    section=coordinator
    [ "$mode" = coordinator ] || section=edgeNode
    if grep -q "^$section:" "$config" 2>/dev/null; then
        echo "$config has a section '$section' already, which is kept; edit it to change options"
        return
    fi
    {
        cat "$config" 2>/dev/null || true
        echo "$section:"
        if [ "$mode" = coordinator ]; then
            [ -z "$advertise" ] || echo "  advertise: ['$advertise']"
            # A section must hold something.
            echo "  listen: ':6443'"
        else
            echo "  joinFile: /etc/dunlin/join-token"
            [ -z "$coordinator" ] || echo "  coordinator: ['$coordinator']"
            [ -z "$name" ] || echo "  nodeName: '$name'"
            [ -z "$labels" ] || echo "  labels: [$labels]"
        fi
    } >"$config.new"
    mv -f "$config.new" "$config"
}

if [ "$mode" = uninstall ]; then
    uninstall
    exit 0
fi

[ -f "$binary" ] || fail "there is no binary at $binary; name it with --binary"
unit=dunlin-coordinator.service
extra=
if [ "$mode" = node ]; then
    unit=dunlin-edge-node.service
    extra=dunlin-edge-node-shutdown.service
    [ -z "$join" ] || check_token "$join" "what --join was given"
    if [ -n "$join_file" ]; then
        [ -r "$join_file" ] || fail "cannot read $join_file"
        join=$(tr -d '[:space:]' <"$join_file")
        check_token "$join" "the content of $join_file"
    fi
    if [ -z "$join$join_file" ] && [ ! -e "$root/var/lib/dunlin/node/identity/identity.json" ]; then
        fail "a node needs --join TOKEN or --join-file FILE the first time"
    fi
fi
for file in $unit $extra; do
    [ -f "$here/$file" ] || fail "$file is missing beside this script"
done
if [ -z "$root" ]; then
    "$binary" version --client >/dev/null || fail "$binary does not run on this machine; is it for another processor?"
fi

place "$binary" 0755 "$program"
for file in $unit $extra; do
    place "$here/$file" 0644 "$units/$file"
done
write_config

if has_systemd; then
    systemctl daemon-reload
    # shellcheck disable=SC2086 # a list of units
    systemctl enable $unit $extra
    systemctl restart --no-block "$unit"
    [ -z "$extra" ] || systemctl start --no-block "$extra"
    echo "installed; follow it with: journalctl -fu $unit"
    if [ "$mode" = coordinator ]; then
        echo "then: export DUNLIN_CONFIG=/var/lib/dunlin/coordinator/admin.config; dunlin node token create"
    else
        echo "to look for what this machine gets wrong: dunlin doctor"
    fi
else
    install -d -m 0755 "$root$units/multi-user.target.wants"
    for file in $unit $extra; do
        ln -sf "$units/$file" "$root$units/multi-user.target.wants/$file"
    done
    echo "installed into $root; it starts with that system"
fi

#!/bin/sh
# What cron starts: `omnisage refresh` every night, `omnisage run` every week. Adds all that is printed to a log file, and
# calls ALERT, if it is set, with a subject and the log's last lines on its standard input when something is wrong.
#
#   OMNISAGE_CONFIG=/srv/omnisage/omnisage.yaml ALERT='mail -s' omnisage-cron.sh refresh
#
# It needs no lock of its own: a workspace lets one omnisage in, and a second one ends with exit code 2.
set -u

verb=${1:?say what to do: refresh or run}
config=${OMNISAGE_CONFIG:?set OMNISAGE_CONFIG to the path of omnisage.yaml}
workspace=${OMNISAGE_WORKSPACE:-$(dirname "$config")/workspace}
log=${OMNISAGE_LOG:-$(dirname "$config")/omnisage.log}

printf '== %s omnisage %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$verb" >>"$log"
"${OMNISAGE:-omnisage}" "$verb" "$config" --workspace "$workspace" >>"$log" 2>&1
code=$?
printf '== exit code %s\n' "$code" >>"$log"

case $code in
0) exit 0 ;;
2) subject="omnisage $verb was refused" ;;       # config, tables, or another omnisage at work: the message says which
*) subject="omnisage $verb failed with $code" ;; # the next run continues
esac
if [ -n "${ALERT:-}" ]; then
    # Unquoted, so that ALERT may have options.
    tail -n 20 "$log" | $ALERT "$subject"
fi
exit "$code"

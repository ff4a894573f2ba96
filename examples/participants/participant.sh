#!/bin/sh
# Takes part in the shutdown of a service, with nothing but a shell and curl.
#   participant.sh SOCKET NAME
# SOCKET is the service's control socket, as in `lameduck demo --control SOCKET`.
socket=$1 name=$2 finished=

post() { curl --silent --unix-socket "$socket" "http://control$1" --data "$2"; }
say() { post "/v1/sessions/$session" "$1" >/dev/null; }
field() { printf '%s\n' "$message" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# Whatever must be done before it may go: here three batches, for which its budget is too short.
finish() {
    say "{\"type\":\"need_more\",\"id\":\"$id\",\"wish\":1,\"by_ms\":2000,\"why\":\"three batches are left\"}"
    for batch in 1 2 3; do
        sleep 0.2
        say "{\"type\":\"working\",\"id\":\"$id\",\"done\":$batch,\"total\":3,\"note\":\"batch $batch\"}"
    done
    say "{\"type\":\"done\",\"id\":\"$id\",\"figures\":{\"batches\":3}}"
}

# The answer to this request does not end: while its connection is open, we take part.
take_part() {
    curl --silent --no-buffer --fail --unix-socket "$socket" http://control/v1/participants \
        --data "{\"name\":\"$name\",\"budget_ms\":500}" |
        {
            while read -r line; do
                message=${line#data: }
                [ "$message" != "$line" ] || continue
                id=$(field id)
                case $(field type) in
                hello)
                    session=$(field session)
                    say '{"type":"ready"}'
                    echo "joined"
                    ;;
                shutdown_request) say "{\"type\":\"ack\",\"id\":\"$id\"}" ;;
                # The service may leave before it has answered the last word.
                close)
                    finish
                    finished=yes
                    ;;
                granted) echo "granted $(field by_ms) ms" ;;
                over)
                    echo "over: $(field state)"
                    exit 42
                    ;;
                esac
            done
            # It took our word, and left.
            [ -z "$finished" ] || { echo "over: done" && exit 42; }
        }
    [ $? -eq 42 ]
}

# A connection that ends without `over` was lost: join again, with a pause that grows.
pause=1
until began=$(date +%s) && take_part; do
    # After a session that lasted it is another loss, not the same one again.
    [ $(($(date +%s) - began)) -le 15 ] || pause=1
    sleep "$pause"
    pause=$((pause < 16 ? pause * 2 : 16))
done

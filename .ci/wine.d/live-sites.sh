# .ci/wine reads this: sites that are changed while caddy.exe serves.

# listed_step NAME: wine cannot do it, says the list.
listed_step() { listed live-sites | grep -xF "$1" >/dev/null; }

# step NAME COMMAND...: one thing that works, or that is listed and fails.
steps=0
step() {
	local name=$1
	shift
	if "$@" >step.log 2>&1; then
		if listed_step "$name"; then
			wrong+=("live-sites: $name is in $cannot, but works")
		else
			steps=$((steps + 1))
		fi
	elif listed_step "$name"; then
		known=$((known + 1))
		printf 'live-sites: %s fails, as it is known\n' "$name"
	else
		wrong+=("live-sites: $name: $(tr -d '\r' <step.log | tail -n 3 | cut -c 1-300 | paste -sd ' ')")
	fi
	tried+="$name"$'\n'
}

# start: caddy.exe serves.
start() {
	/usr/lib/wine/wine64 ./caddy.exe run --config Caddyfile >>caddy.log 2>&1 &
	pid=$!
	for ((i = 0; i < 120; i++)); do
		if curl -fsS -o /dev/null localhost:2019/iis/ready 2>/dev/null; then return; fi
		kill -0 "$pid" 2>/dev/null || { tail -n 3 caddy.log && return 1; }
		sleep 1
	done
	return 1
}

# ends COMMAND...: it ends caddy.exe.
ends() {
	"$@" && for ((i = 0; i < 60; i++)); do
		if ! kill -0 "$pid" 2>/dev/null; then return; fi
		sleep 1
	done && return 1
}

# answers HOST BODY: a site does, by http and at the latest in 20 seconds; without BODY,
# none has the host.
answers() {
	local body
	for ((i = 0; i < 20; i++)); do
		body=$(curl -sS --resolve "$1:8080:127.0.0.1" "http://$1:8080")
		if [[ $body == "${2:-*Invalid Hostname*}" ]] || [[ ! ${2:-} && $body == *'Invalid Hostname'* ]]; then return; fi
		sleep 1
	done
	printf '%s answers %s\n' "$1" "$body"
	return 1
}

# secure HOST BODY: a site answers by https.
secure() { [[ $(curl -sSk --resolve "$1:8443:127.0.0.1" "https://$1:8443") == "$2" ]]; }

# asks STATUS METHOD PATH [BODY]: a request to the admin API has this status.
asks() {
	local status
	status=$(curl -sS -o answer -w '%{http_code}' -X "$2" "localhost:2019/iis/$3" -H 'Content-Type: application/json' ${4:+-d "$4"})
	[[ $status == "$1" ]] || { printf 'status %s: ' "$status" && cat answer && return 1; }
}

# tells CODE TEXT ARGUMENT...: caddy iis ends with the code, and has the text in what it prints.
tells() {
	local code=$1 text=$2 got output
	shift 2
	output=$(wine ./caddy.exe iis "$@" 2>&1) && got=0 || got=$?
	[[ $got == "$code" && $output == *"$text"* ]] || { printf 'code %s: %s\n' "$got" "$output" && return 1; }
}

# file NAME: a program renames a sites file into place.
file() { printf '{"id":10,%s,"server_bindings":[":8080:file.example.test"]}\n' "$1" >sites.new && mv sites.new sites.jsonl; }

live_sites() {
	local folder=$scratch/live-sites pid tried='' name
	local database="C:\\users\\$(id -un)\\AppData\\Roaming\\Caddy\\iis\\sites.db"
	mkdir -p "$folder"
	build_caddy
	cp "$program_of_caddy" "$folder/caddy.exe"
	cp .ci/wine.d/Caddyfile "$folder/Caddyfile"
	cd "$folder"
	# What the quickstart has added is not of this.
	rm -rf "$WINEPREFIX/drive_c/users/$(id -un)/AppData/Roaming/Caddy/iis"
	file '"name":"Filed"'
	admin_is_free
	step start start

	step file answers file.example.test Filed
	file '"name":"Filed again"'
	step file-changed answers file.example.test 'Filed again'
	file '"nam":"Wrong"'
	sleep 3
	step file-refused tells 1 'unknown field "nam"' check
	step file-as-before answers file.example.test 'Filed again'

	step put asks 201 PUT sites/5 '{"name":"Blog","server_bindings":[":8080:blog.example.test"],"secure_bindings":[":8443:blog.example.test"]}'
	step put-serves answers blog.example.test Blog
	step put-serves-https secure blog.example.test Blog
	step conflict asks 409 PUT sites/6 '{"server_bindings":[":8080:blog.example.test"]}'
	step patch asks 200 PATCH sites/5 '{"name":"Journal"}'
	step patch-serves answers blog.example.test Journal
	step several asks 200 POST changes '[{"op":"put","id":7,"site":{"name":"Seven","server_bindings":[":8080:seven.example.test"]}},{"op":"put","id":8,"site":{"name":"Eight","server_bindings":[":8080:eight.example.test"]}}]'
	step delete asks 204 DELETE sites/8
	step delete-serves answers eight.example.test

	step add-site tells 0 'added' add site Wiki --id 9 --http :8080:wiki.example.test
	step add-site-serves answers wiki.example.test Wiki
	step add-binding tells 0 'added' add binding Wiki http :8080:wiki2.example.test
	step add-binding-serves answers wiki2.example.test Wiki
	step stop-site tells 0 '' stop Seven
	step stop-site-serves answers seven.example.test
	step log tells 0 'changed 9' sites log
	step revert tells 0 'taken back' sites revert 6
	step revert-serves answers wiki2.example.test
	step list tells 0 'http *:8080:wiki.example.test' list
	step verify tells 0 '' verify --roots internal
	step export tells 0 '' sites export --output sites-exported.jsonl
	step export-file tells 0 '"name":"Wiki"' sites export --file "$database"
	step import-file-refused tells 1 'another process has it open' sites import sites-exported.jsonl --file "$database"
	step remove-site tells 0 'removed' remove site Wiki
	step remove-site-serves answers wiki.example.test
	step import tells 0 '' sites import sites-exported.jsonl
	step import-serves answers wiki.example.test Wiki

	sed -i 's/"Configured"/"Reloaded"/' Caddyfile
	step reload wine ./caddy.exe reload --config Caddyfile
	step reload-serves answers configured.example.test Reloaded
	file '"name":"Filed at last"'
	step stop ends wine ./caddy.exe stop
	step start-again start
	step restart-file answers file.example.test 'Filed at last'
	step restart-put secure blog.example.test Journal
	step restart-add-site answers wiki.example.test Wiki
	step restart-delete answers eight.example.test

	step put-before-kill asks 200 PATCH sites/5 '{"name":"Diary"}'
	step kill ends kill -KILL "$pid"
	step start-after-kill start
	step kill-serves answers blog.example.test Diary
	ends kill "$pid"
	step import-file tells 0 '' sites import sites-exported.jsonl --file "$database"
	cd "$root"

	while IFS= read -r name; do
		grep -qxF "$name" <<<"$tried" || wrong+=("$cannot: live-sites has no step $name")
	done < <(listed live-sites)
	passed=$((passed + steps))
	printf 'live-sites: %d steps work\n' "$steps"
}

# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Plain curl against the token server. Secrets go through standard input and
# files: whoever may list processes sees the arguments of a program.

api() { curl -sS --max-time 10 --cacert "$work/ca.crt" "$@"; }

# member NAME prints one member of a flat JSON object.
member() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'; }

# secret NAMESPACE NAME KEY prints a value of a Secret.
secret() {
  kubectl get secret -n "$1" "$2" -o "go-template={{index .data \"$3\" | base64decode}}"
}

# mount NAMESPACE NAME DIR writes the files that a Pod would find, for the owner
# alone to read. Nobody sees half a file.
mount() {
  local key value
  while read -r key value; do
    (umask 077 && base64 -d <<<"$value" >"$3/.new" && mv "$3/.new" "$3/$key")
  done < <(kubectl get secret -n "$1" "$2" -o 'go-template={{range $key, $value := .data}}{{$key}} {{$value}}{{"\n"}}{{end}}')
}

# request_token CLIENT_ID CLIENT_SECRET: the client-credentials example of the
# platform, JSON body and all. Prints the response.
request_token() {
  api --fail-with-body -H 'Content-Type: application/json' --data @- \
    "$url/accounts/api/v2/oauth2/token" <<BODY
{"client_id": "$1", "client_secret": "$2", "grant_type": "client_credentials"}
BODY
}

# management_token prints what the token endpoint answers to the manager's
# ServiceAccount. Who may ask the API server for a token of that may manage apps.
management_token() {
  kubectl create token -n "$system" connectedapps-manager --audience "$url/accounts/api/v2/oauth2" | tr -d '\n' |
    api --fail-with-body -d grant_type=client_credentials -d client_id=connectedapps-manager \
      -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
      --data-urlencode client_assertion@- "$url/accounts/api/v2/oauth2/token"
}

# get TOKEN PATH prints the response body and, on a line of its own, the status.
get() {
  api -w '\n%{http_code}\n' -H @- "$url$2" <<<"Authorization: Bearer $1"
}

status_of() { get "$@" | tail -n 1; }

# short VALUE is enough of a token to tell it from the next.
short() { sha256sum <<<"$1" | cut -c -8; }

### A browser without scripts

# browse URL [CURL OPTIONS] opens a page and follows where it leads, with the
# cookies of before. The page is in $work/page, its address in $location.
browse() {
  local target=$1
  shift
  location=$(api -L --max-redirs 10 -b "$work/cookies" -c "$work/cookies" -H "Origin: $url" \
    -o "$work/page" -w '%{url_effective}' "$@" "$target")
}

# hidden NAME is a hidden field of the page.
hidden() {
  sed -n 's/.*<input type="hidden" name="'"$1"'" value="\([^"]*\)">.*/\1/p' "$work/page" | head -n 1 |
    sed 's/&amp;/\&/g; s/&#43;/+/g; s/&#34;/"/g'
}

# submit PATH [CURL OPTIONS] sends the page's form, its hidden fields included.
submit() {
  local path=$1
  shift
  browse "$url$path" --data-urlencode "continue=$(hidden continue)" --data-urlencode "form_token=$(hidden form_token)" "$@"
}

# heading is that of the page.
heading() { sed -n 's/.*<h1[^>]*>\(.*\)<\/h1>.*/\1/p' "$work/page" | head -n 1 | sed 's/<[^>]*>//g'; }

# expect_heading TEXT fails unless the page has it.
expect_heading() {
  [[ $(heading) == "$1" ]] || fail "${location%%\?*} shows \"$(heading)\", not \"$1\""
}

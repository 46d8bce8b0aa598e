#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The platform's own connected-app examples, request by request as they are
# printed, against a running token server. Placeholders in <angle brackets> are
# filled in, and the host is the server's.
#
# BASE_URL        the server's public URL
# CA_FILE         the authority to trust, for https; optional
# LOGIN, PASSWORD an administrator of the organization
# IDP_ID          an identity provider of the organization, which the server's
#                 configuration names under organizations[].assertions, with
#                 withoutExpiry: true, as the platform has it
#
# Exit 0 only when every answer is what the examples say. Needs bash, curl,
# openssl and the usual small programs.
set -euo pipefail
: "${BASE_URL:?}" "${LOGIN:?}" "${PASSWORD:?}" "${IDP_ID:?}"

work=$(mktemp -d)
step=
finish() {
  local status=$?
  rm -rf "$work"
  if ((status)); then printf '✘ %s\n' "$step"; fi
  exit "$status"
}
trap finish EXIT

for program in curl openssl sed; do
  command -v "$program" >/dev/null || { step="this needs $program, which is not installed"; exit 1; }
done

### Talking

# api METHOD PATH [BODY] sends JSON. Tokens and secrets go by files and standard
# input: arguments are for everybody to see. The answer is in $status and $body.
bearer=
api() {
  local options=(-sS --max-time 20 -o "$work/body" -w '%{http_code}' -X "$1")
  [[ -z ${CA_FILE:-} ]] || options+=(--cacert "$CA_FILE")
  [[ -z $bearer ]] || options+=(-H @"$work/bearer")
  if [[ -n ${3:-} ]]; then
    options+=(-H 'Content-Type: application/json' --data-binary @-)
  fi
  [[ -z $bearer ]] || printf 'Authorization: Bearer %s\n' "$bearer" >"$work/bearer"
  status=$(curl "${options[@]}" "$BASE_URL$2" <<<"${3:-}")
  body=$(cat "$work/body")
}

# browser METHOD PATH [FIELD=VALUE...] keeps cookies, as a browser does. A value
# is encoded; redirects are shown, not followed.
browser() {
  local method=$1 path=$2 field
  shift 2
  local options=(-sS --max-time 20 -o "$work/page" -D "$work/headers" -w '%{http_code}' -b "$work/cookies" -c "$work/cookies" -X "$method")
  [[ -z ${CA_FILE:-} ]] || options+=(--cacert "$CA_FILE")
  if [[ $method == POST ]]; then options+=(-H 'Sec-Fetch-Site: same-origin' -H "Origin: $BASE_URL"); fi
  for field in "$@"; do
    printf '%s' "${field#*=}" >"$work/field.${#options[@]}"
    options+=(--data-urlencode "${field%%=*}@$work/field.${#options[@]}")
  done
  case $path in http*) ;; *) path=$BASE_URL$path ;; esac
  status=$(curl "${options[@]}" "$path")
  location=$(sed -n 's/^[Ll]ocation: *//p' "$work/headers" | tr -d '\r')
}

# field NAME is a hidden field of the page.
field() {
  sed -n 's/.*<input type="hidden" name="'"$1"'" value="\([^"]*\)">.*/\1/p' "$work/page" | head -n 1 | sed 's/&amp;/\&/g; s/&#43;/+/g; s/&#34;/"/g'
}

# text NAME and number NAME are members of the JSON answer.
text() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' <<<"$body"; }
number() { sed -n 's/.*"'"$1"'" *: *\([0-9][0-9]*\).*/\1/p' <<<"$body"; }

### Telling

title() { printf '\n%s\n' "$1"; }

# ok says what was asked and what came back, without secrets.
ok() {
  printf '✔ %s\n' "$step"
  local hidden
  hidden=$(sed -E 's/("(access_token|refresh_token|id_token|client_secret)" *: *)"[^"]*"/\1"••••"/g' <<<"$body" | tr -d '\n' | cut -c 1-160)
  printf '    %s %s\n' "$status" "$hidden"
}

fail() {
  step="$step: $1"
  exit 1
}

expect() { # STATUS
  [[ $status == "$1" ]] || fail "answered $status, not $1: $(cut -c 1-300 <<<"$body")"
}

# expect_tokens is the sample response of the examples.
expect_tokens() {
  expect 200
  [[ -n $(text access_token) ]] || fail "the answer has no access_token"
  [[ $(number expires_in) == 3600 ]] || fail "expires_in is $(number expires_in), not 60 minutes in seconds"
  [[ $(text token_type) == bearer ]] || fail "token_type is $(text token_type), not bearer"
}

### Before the examples

title 'A user who may manage connected apps'
step='POST /accounts/login'
api POST /accounts/login "{\"username\":\"$LOGIN\",\"password\":\"$PASSWORD\"}"
expect 200
UserAccessToken=$(text access_token)
ok

### Authorization Code & Refresh Token

title 'Authorization Code & Refresh Token'
step='1. Creating a connected app'
bearer=$UserAccessToken
api POST /accounts/api/connectedApplications '{
"client_name":"GitProxy",
"grant_types":["refresh_token", "authorization_code"],
"redirect_uris":["https://example.com/"],
"scopes":["profile","offline_access"],
"public_keys":[],
"audience":"internal"
}'
expect 201
client_id=$(text client_id)
client_secret=$(text client_secret)
[[ $client_id =~ ^[0-9a-f]{32}$ && -n $client_secret ]] || fail "no client id and secret in the answer"
ok
apps=("$client_id")

# authorize SCOPE signs the user in when asked, allows the app, and leaves the
# code in $code.
authorize() {
  browser GET "/accounts/api/v2/oauth2/authorize?client_id=$client_id&scope=$1&response_type=code&redirect_uri=https://example.com&nonce=123456"
  local redirects=0
  while :; do
    case $status in
    30[237])
      [[ $location != https://example.com* ]] || break
      ((redirects++ < 10)) || fail "too many redirects"
      browser GET "$location"
      ;;
    200)
      if grep -q 'name="password"' "$work/page"; then
        browser POST /accounts/sign-in "continue=$(field continue)" "form_token=$(field form_token)" "action=sign-in" "username=$LOGIN" "password=$PASSWORD"
      elif grep -q 'action="/accounts/authorize-app"' "$work/page"; then
        grep -q GitProxy "$work/page" || fail "the Authorize App page does not name the app"
        allow
      else
        fail "an unexpected page: $(sed -n 's/.*<h1>\(.*\)<\/h1>.*/\1/p' "$work/page")"
      fi
      ;;
    *) fail "answered $status" ;;
    esac
  done
  code=$(sed -n 's/.*[?&]code=\([^&]*\).*/\1/p' <<<"$location")
  [[ -n $code ]] || fail "redirected to $location without a code"
}

# allow presses the button, with every scope left checked.
allow() {
  local fields=("continue=$(field continue)" "form_token=$(field form_token)" decision=approve) scope
  while read -r scope; do
    fields+=("scope=$scope")
  done < <(grep -o '<input type="checkbox" name="scope" value="[^"]*"' "$work/page" | sed 's/.*value="\(.*\)"/\1/')
  browser POST /accounts/authorize-app "${fields[@]}"
}

step='2. Authorizing the app to act on the user'\''s behalf'
body=
authorize profile%20offline_access
body="Location: ${location%%code=*}code=••••"
ok

step='3. Retrieving the access token'
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"client_id\":\"$client_id\",
\"redirect_uri\":\"https://example.com\",
\"client_secret\":\"$client_secret\",
\"grant_type\":\"authorization_code\",
\"code\":\"$code\"
}"
expect_tokens
ConnAppAccessToken=$(text access_token)
refresh_token=$(text refresh_token)
[[ -n $refresh_token ]] || fail "the answer has no refresh_token"
[[ -z $(text id_token) ]] || fail "an id_token came without openid"
ok

step='4. Accessing the API using the retrieved access token'
bearer=$ConnAppAccessToken
api GET /accounts/api/profile
expect 200
[[ -n $(text id) && $(text createdAt) == *T* ]] || fail "the answer has no id and createdAt"
ok

step='5. Retrieving new access token using refresh token'
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"client_id\" : \"$client_id\",
\"client_secret\" : \"$client_secret\",
\"grant_type\" : \"refresh_token\",
\"refresh_token\" : \"$refresh_token\"
}"
expect_tokens
[[ -n $(text refresh_token) ]] || fail "the answer has no refresh_token"
ok

step='Note: to receive an id_token, openid scope is required'
bearer=$UserAccessToken
api PATCH "/accounts/api/connectedApplications/$client_id" '{"scopes":["profile","offline_access","openid"]}'
expect 200
authorize openid%20profile
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"client_id\":\"$client_id\",
\"redirect_uri\":\"https://example.com\",
\"client_secret\":\"$client_secret\",
\"grant_type\":\"authorization_code\",
\"code\":\"$code\"
}"
expect_tokens
[[ $(text id_token) == *.*.* ]] || fail "the answer has no id_token"
ok

### Password Grant

title 'Password Grant'
step='an app that lists the grant'
bearer=$UserAccessToken
api POST /accounts/api/connectedApplications '{"client_name":"Script","grant_types":["password"],"redirect_uris":[],"scopes":["profile"],"public_keys":[],"audience":"internal"}'
expect 201
client_id=$(text client_id)
client_secret=$(text client_secret)
apps+=("$client_id")
ok
step='the request'
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"grant_type\" : \"password\",
\"client_id\" : \"$client_id\",
\"client_secret\" : \"$client_secret\",
\"username\" : \"$LOGIN\",
\"password\" : \"$PASSWORD\"
}"
expect_tokens
ok

### JWT Bearer Grant

title 'JWT Bearer Grant'
(umask 077 && openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/private.pem" 2>/dev/null) || fail "openssl made no key"
public_key=$(openssl pkey -in "$work/private.pem" -pubout | sed ':a;N;$!ba;s/\n/\\n/g')
step='1. Creating a Connected App with JWT Bearer grant type'
bearer=$UserAccessToken
api POST /accounts/api/connectedApplications "{
\"client_name\" : \"Batch\",
\"grant_types\" : [\"urn:ietf:params:oauth:grant-type:jwt-bearer\"],
\"public_keys\" : [\"$public_key\\n\"],
\"redirect_uris\" : [\"https://example.com/\"],
\"scopes\" : [\"profile\",\"offline_access\"],
\"audience\" : \"internal\"
}"
expect 201
client_id=$(text client_id)
ok
apps+=("$client_id")

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
step='2. JWT Token Exchange: the assertion'
payload="{
\"iss\" : \"$client_id\",
\"sub\" : \"v2|$IDP_ID|jsmith|john|smith|jsmith@gmail.com|[community]\",
\"aud\" : \"$BASE_URL/accounts/api/v2/oauth2/token\"
}"
content=$(printf '{"alg":"RS256"}' | base64url).$(printf '%s' "$payload" | base64url)
assertion=$content.$(printf '%s' "$content" | openssl dgst -sha256 -sign "$work/private.pem" -binary | base64url)
status='signed' body=$payload
ok

step='3. Retrieving the access token'
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"grant_type\" : \"urn:ietf:params:oauth:grant-type:jwt-bearer\",
\"assertion\" : \"$assertion\"
}"
expect_tokens
ok

### Client Credentials Grant

title 'Client Credentials Grant'
step='an app on its own behalf'
bearer=$UserAccessToken
api POST /accounts/api/connectedApplications '{"client_name":"Job","grant_types":["client_credentials"],"redirect_uris":[],"scopes":[],"public_keys":[],"audience":"internal"}'
expect 201
client_id=$(text client_id)
client_secret=$(text client_secret)
apps+=("$client_id")
ok
step='the request'
bearer=
api POST /accounts/api/v2/oauth2/token "{
\"client_id\" : \"$client_id\",
\"client_secret\" : \"$client_secret\",
\"grant_type\" : \"client_credentials\"
}"
expect_tokens
ok

### After the examples

title 'Tidying up'
bearer=$UserAccessToken
step='DELETE /accounts/api/connectedApplications/<client_id>, of each app'
for app in "${apps[@]}"; do
  api DELETE "/accounts/api/connectedApplications/$app"
  expect 204
done
ok

# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The steps, in the order in which the demo takes them.

control_plane() {
  step "Control plane"
  start cluster "$root/bin/cluster" --assets "$KUBEBUILDER_ASSETS" --controller-manager "$KUBE_CONTROLLER_MANAGER" \
    --dir "$work/cluster" --kubeconfig "$KUBECONFIG"
  eventually 120 "the API becoming ready" test -f "$KUBECONFIG"
  ok "etcd, kube-apiserver and kube-controller-manager run"
}

install_kinds() {
  step "Installed"
  kubectl create namespace "$system" >/dev/null
  kubectl apply --server-side -k config/crd >/dev/null
  kubectl apply --server-side -k config/rbac >/dev/null
  kubectl apply --server-side -k config/admission >/dev/null
  for name in connectedapps-manager tokenserver; do
    kubectl create serviceaccount -n "$system" "$name" >/dev/null
  done
  kubectl wait --for=condition=Established --timeout=30s crd \
    {tokenservers,connectedapps,accesstokens}.connectedapps.dev >/dev/null
  ok "the kinds TokenServer, ConnectedApp and AccessToken, roles and policies"
}

# The manager runs with the rights it has in a cluster, no more.
manager() {
  step "Manager"
  kubectl create token -n "$system" connectedapps-manager --duration=24h >"$work/manager.token"
  sed "s|^users:.*|users: [{name: admin, user: {tokenFile: $work/manager.token}}]|" "$KUBECONFIG" >"$work/manager.kubeconfig"
  start manager "$root/bin/manager" --kubeconfig "$work/manager.kubeconfig" --namespace "$system" \
    --minimum-token-lifetime 5s --resync-interval 10s --health-probe-bind-address 127.0.0.1:0 --metrics-bind-address 0
  for name in tokenserver-keys tokenserver-tls; do
    eventually 30 "the Secret $name" kubectl get secret -n "$system" "$name"
  done
  ok "runs as its ServiceAccount and made the token server's key and certificate"
}

tokenserver() {
  step "Token server"
  local files=$work/files
  mkdir "$files" "$files"/{keys,tls,cluster}
  mount "$system" tokenserver-keys "$files/keys"
  mount "$system" tokenserver-tls "$files/tls"
  cp "$files/tls/ca.crt" "$work/ca.crt"
  # What the kubelet gives to every Pod.
  kubectl create token -n "$system" tokenserver --duration=24h >"$files/cluster/token"
  kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$files/cluster/ca.crt"
  people
  config=$work/people.yaml start_server tokenserver $token_lifetime
  url=$server_url
  ok "ready at $url, SQLite, tokens of $token_lifetime"
}

# people adds two users to the configuration of config/tokenserver: Pat is you,
# and Sam signs in before you do. Their passwords are of this run alone; Pat's is
# shown, and neither is written anywhere.
people() {
  local organization name first
  organization=$(sed -n 's/^  organizationID: *//p' config/tokenserver/config.yaml | head -n 1)
  sed "/^  ownerID:/a\\  identityProviders: [{id: corp, name: Corporate directory}]" config/tokenserver/config.yaml >"$work/people.yaml"
  for name in pat sam; do
    first=${name^}
    password[$name]=$(head -c 10 /dev/urandom | base32 | tr '[:upper:]' '[:lower:]' | sed 's/..../&-/g; s/-$//')
    "$root/bin/tokenserver" user hash <<<"${password[$name]}" >"$work/files/$name.hash"
    cat >>"$work/people.yaml" <<USER
- id: $(</proc/sys/kernel/random/uuid)
  organizationID: $organization
  username: $name
  firstName: $first
  lastName: Demo
  email: $name@example.com
  passwordHashFile: $work/files/$name.hash
USER
  done
}
declare -A password=()

# start_server NAME TOKEN_LIFETIME starts a token server with the configuration
# of config/tokenserver and the addresses and files of this machine, and leaves
# its address in $server_url.
start_server() {
  local port operations data=$work/$1 api
  port=$(free_port)
  operations=$(free_port)
  server_url=https://localhost:$port
  api=$(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}')
  mkdir -p "$data"
  sed -e "s|^publicURL:.*|publicURL: $server_url|" \
    -e "s|^listen:.*|listen: 127.0.0.1:$port|" \
    -e "s|^operationsListen:.*|operationsListen: 127.0.0.1:$operations|" \
    -e "s|^accessTokenLifetime:.*|accessTokenLifetime: $2|" \
    -e "s|/etc/tokenserver|$work/files|; s|/var/lib/tokenserver|$data|" \
    -e "s|^  discovery: {}|  discovery: {url: $api, caFile: $work/files/cluster/ca.crt, tokenFile: $work/files/cluster/token}|" \
    "${config:-config/tokenserver/config.yaml}" >"$data/config.yaml"
  start "$1" "$root/bin/tokenserver" serve --config "$data/config.yaml"
  eventually 30 "the token server becoming ready" curl -fsS "http://127.0.0.1:$operations/readyz"
}

apply_samples() {
  step "Manifests applied"
  # An address, not a name: what https://localhost says of https alone
  # (Strict-Transport-Security) holds for every port of that name.
  portal=http://127.0.0.1:$(free_port)
  kubectl kustomize config/samples | sed -e "s|https://tokenserver.connectedapps-system.svc|$url|" \
    -e "s|https://portal.payments.example.com|$portal|; s|\*\.payments\.example\.com|127.0.0.1|" >"$work/samples.yaml"
  kubectl apply --server-side -f "$work/samples.yaml" >/dev/null
  kubectl wait --for=condition=Ready --timeout=60s tokenserver/default >/dev/null 2>&1 || not_ready tokenserver
  kubectl wait --for=condition=Ready --timeout=60s -n $namespace connectedapp --all >/dev/null 2>&1 || not_ready connectedapp
  kubectl wait --for=condition=Ready --timeout=60s -n $namespace accesstoken --all >/dev/null 2>&1 || not_ready accesstoken
  [[ -z $(kubectl get secret -n "$system" -o name | grep admin) ]] || fail "there is a secret of the manager's"
  ok "config/samples, and every object is Ready; the manager logged in as its ServiceAccount"
}

not_ready() {
  fail "$(kubectl get "$1" -A -o 'jsonpath={range .items[*]}{.metadata.name}: {.status.conditions[?(@.type=="Ready")].message}; {end}')"
}

registered_app() {
  step "Registered"
  client_id=$(kubectl get connectedapp -n $namespace gitproxy -o 'jsonpath={.status.clientID}')
  [[ -n $client_id ]] || fail "the app has no client id"
  ok "the ConnectedApp gitproxy is the client $client_id"
  show kubectl get capp -n $namespace -o wide
}

secret_keys() {
  step "Credentials"
  local keys
  keys=$(kubectl get secret -n $namespace gitproxy-credentials -o 'go-template={{range $key, $value := .data}}{{$key}} {{end}}')
  for key in client-id client-secret token-url; do
    [[ " $keys " == *" $key "* ]] || fail "the Secret has no key $key"
  done
  ok "the Secret gitproxy-credentials; its values stay hidden"
  echo "     $keys" | fold -sw 100 | sed '2,$s/^/     /'
}

# The sidecar's program, with the Secret as a Pod would mount it, and an
# application that reads the token all the time.
refresher() {
  step "Refresher"
  tokens=$work/tokens
  start_refresher
  start reader "$root/hack/demo/reader.sh" "$tokens" "$work/reads"
  ok "writes access-token, and a reader opens it 20 times a second"
}

start_refresher() {
  mkdir -p "$work/credentials"
  rm -rf "$tokens"
  mkdir "$tokens"
  mount $namespace gitproxy-credentials "$work/credentials"
  start refresher "$root/bin/refresher" --credentials-dir "$work/credentials" --output-dir "$tokens" --health-listen 127.0.0.1:0
  eventually 15 "the first token file" test -s "$tokens/access-token"
}

token_by_curl() {
  step "Token by curl"
  local response
  response=$(request_token "$client_id" "$(secret $namespace gitproxy-credentials client-secret)") ||
    fail "the token endpoint said: $response"
  token=$(member access_token <<<"$response")
  [[ $token == *.*.* ]] || fail "no access token in the answer"
  ok "got with the Secret's credentials and the vendor's JSON body"
  echo "     $response" | sed 's/"access_token": *"[^"]*"/"access_token":"••••"/'
}

profile() {
  step "Profile"
  local tampered=${token%?????}AAAAA status
  status=$(status_of "$token" /accounts/api/profile)
  [[ $status == 200 ]] || fail "GET /accounts/api/profile answered $status"
  status=$(status_of "$tampered" /accounts/api/profile)
  [[ $status == 401 ]] || fail "a tampered token was answered with $status"
  ok "the token is accepted (200), and refused after tampering (401)"
}

# The sample's portal, as an application that signs people in.
sign_in() {
  step "Sign-in"
  local scope scopes=()
  mkdir "$work/portal"
  mount $namespace portal-credentials "$work/portal"
  start portal "$root/bin/portal" --credentials-dir "$work/portal" --url "$portal"
  eventually 15 "the portal becoming ready" curl -fsS "$portal"
  browse "$portal/sign-in"
  expect_heading "Sign in"
  submit /accounts/sign-in -d action=sign-in -d username=sam --data-urlencode password@- < <(printf %s "${password[sam]}")
  expect_heading "Authorize Payments Portal"
  while read -r scope; do
    scopes+=(--data-urlencode "scope=$scope")
  done < <(grep -o '<input type="checkbox" name="scope" value="[^"]*"' "$work/page" | sed 's/.*value="\(.*\)"/\1/')
  submit /accounts/authorize-app -d decision=approve "${scopes[@]}"
  expect_heading "Signed in as Sam Demo"
  ok "Sam opened the portal, signed in, authorized it and was sent back"
  yours
}

# yours tells how to do the same.
yours() {
  printf '     %s/sign-in\n     for you: user name pat, password %s\n' "$portal" "${password[pat]}"
}

secret_rotates() {
  step "Token Secret"
  local seen=() last='' now deadline=$((SECONDS + 60))
  while ((${#seen[@]} < 3)); do
    now=$(secret $namespace gitproxy-token access-token)
    if [[ $now != "$last" ]]; then
      [[ $(status_of "$now" /accounts/api/profile) == 200 ]] || fail "the token in the Secret is refused"
      seen+=("$(short "$now")")
      last=$now
    fi
    ((SECONDS < deadline)) || fail "changed $((${#seen[@]} - 1)) times in a minute"
    sleep 0.2
  done
  ok "rotated twice: ${seen[0]} → ${seen[1]} → ${seen[2]}"
}

file_rotates() {
  step "Token file"
  local reads gaps tokens_seen
  eventually 60 "the second rotation of the file" rotated_twice
  reads=$(wc -l <"$work/reads")
  gaps=$(grep -vc '^ok ' "$work/reads" || true)
  tokens_seen=$(uniq "$work/reads" | awk '/^ok/ { printf "%s%s", sep, $2; sep = " → " }')
  ((gaps == 0)) || fail "$gaps of $reads reads found no good token: $(grep -v '^ok ' "$work/reads" | head -n 1)"
  ok "rotated twice: $tokens_seen; $reads reads, no gap"
}

rotated_twice() { (($(uniq "$work/reads" | grep -c '^ok ') >= 3)); }

edit_reaches_server() {
  step "Edit"
  kubectl patch connectedapp -n $namespace gitproxy --type merge -p '{"spec":{"clientName":"GitProxy EU"}}' >/dev/null
  eventually 30 "the new name on the server" server_says '"client_name" *: *"GitProxy EU"'
  ok "the new clientName is on the server"
}

# app_on_server asks the management API.
app_on_server() { get "$(management_token | member access_token)" "/accounts/api/connectedApplications/$client_id"; }

server_says() { app_on_server | grep -q "$1"; }

deleted_secret_returns() {
  step "Secret deleted"
  kubectl delete secret -n $namespace gitproxy-credentials >/dev/null
  eventually 30 "the Secret coming back" secret $namespace gitproxy-credentials client-secret
  request_token "$client_id" "$(secret $namespace gitproxy-credentials client-secret)" >/dev/null ||
    fail "the new credentials are refused"
  ok "it came back within $((SECONDS - SECONDS_AT_STEP + 1))s, and its credentials work"
}

# rotation has a client ask for tokens all the time, with what the Secret holds at
# that moment.
rotation() {
  step "Rotation"
  local before after asked refused
  before=$(secret $namespace gitproxy-credentials client-secret)
  : >"$work/asked"
  start caller "$root/hack/demo/caller.sh" "$work" "$url" $namespace gitproxy-credentials "$work/asked"
  eventually 15 "the first tokens" asked_at_least 5
  kubectl annotate connectedapp -n $namespace gitproxy "connectedapps.dev/rotate-requested-at=$(date -u +%FT%TZ)" >/dev/null
  eventually 30 "another client secret" differs "$before"
  after=$(secret $namespace gitproxy-credentials client-secret)
  eventually 15 "more tokens" asked_at_least $(($(wc -l <"$work/asked") + 5))
  end caller
  request_token "$client_id" "$after" >/dev/null || fail "the new client secret is refused"
  request_token "$client_id" "$before" >/dev/null || fail "the former client secret is refused at once"
  asked=$(wc -l <"$work/asked")
  refused=$(grep -c refused "$work/asked" || true)
  ((refused == 0)) || fail "$refused of $asked requests were refused"
  ok "another client secret; a client asked $asked times meanwhile and was never refused"
  kubectl get connectedapp -n $namespace gitproxy -o 'jsonpath={.status.conditions[?(@.type=="Rotating")].message}' | fold -sw 96 | sed 's/^/     /'
  echo
}

asked_at_least() { (($(wc -l <"$work/asked") >= $1)); }

differs() { [[ $(secret $namespace gitproxy-credentials client-secret) != "$1" ]]; }

# drift has an administrator change the client on the server.
drift() {
  step "Drift"
  local admin status
  admin=$(management_token | member access_token)
  status=$(api -o /dev/null -w '%{http_code}' -X PATCH -H 'Content-Type: application/json' -H @- \
    --data '{"client_name":"Mallory"}' "$url/accounts/api/connectedApplications/$client_id" <<<"Authorization: Bearer $admin")
  [[ $status == 200 ]] || fail "PATCH of the client was answered with $status"
  eventually 60 "the repair" server_says '"client_name" *: *"GitProxy EU"'
  eventually 15 "the word about it" drift_told
  ok "somebody renamed the client on the server; the manager named it and undid it"
  kubectl get connectedapp -n $namespace gitproxy -o 'jsonpath={.status.conditions[?(@.type=="Drifted")].message}' | sed 's/^/     /'
  echo
}

drift_told() {
  [[ $(kubectl get connectedapp -n $namespace gitproxy -o 'jsonpath={.status.conditions[?(@.type=="Drifted")].reason}') == DriftRepaired ]]
}

# policy asks for what no access rule allows.
policy() {
  step "Policy"
  local answer
  if answer=$(kubectl apply --server-side -f - 2>&1 <<APP
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: greedy, namespace: $namespace}
spec: {grantTypes: [client_credentials], scopes: [{scope: full}]}
APP
  ); then
    fail "an app with scope full was admitted"
  fi
  [[ $answer == *"does not allow scope full"* ]] || fail "refused for another reason: $answer"
  ok "an app that asks for scope full is refused, with the rule that comes nearest"
  sed 's/.*denied request: //' <<<"$answer" | fold -sw 96 | sed 's/^/     /'
}

# secretless has an app without a client secret: a Pod proves itself with the token
# of its ServiceAccount, which the kubelet, here kubectl, puts beside the addresses.
secretless() {
  step "No secret at all"
  local credentials=$work/reports
  kubectl create serviceaccount -n $namespace reports >/dev/null
  kubectl apply --server-side -f - >/dev/null <<APP
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: reports, namespace: $namespace}
spec:
  grantTypes: [client_credentials]
  credentials: {type: ServiceAccount, serviceAccounts: [{name: reports}]}
APP
  kubectl wait --for=condition=Ready --timeout=60s -n $namespace connectedapp/reports >/dev/null 2>&1 || not_ready connectedapp
  [[ -z $(kubectl get secret -n $namespace -o name --ignore-not-found reports-credentials) ]] || fail "there is a Secret"
  mkdir "$credentials"
  for key in client-id token-url issuer-url auth-method ca.crt; do
    kubectl get configmap -n $namespace reports-credentials -o "go-template={{index .data \"$key\"}}" >"$credentials/$key"
  done
  kubectl create token -n $namespace reports --audience "$url/accounts/api/v2/oauth2" --duration 1h >"$credentials/service-account-token"
  "$root/bin/refresher" --credentials-dir "$credentials" --output-dir "$work/reports-token" --once --once-timeout 15s >"$work/reports.log" 2>&1 ||
    fail "$(tail -n 1 "$work/reports.log")"
  [[ $(status_of "$(<"$work/reports-token/access-token")" /accounts/api/profile) == 200 ]] || fail "the token is refused"
  ok "the refresher got a token for the app reports with the token of its ServiceAccount"
}

app_goes() {
  step "App deleted"
  end reader refresher
  kubectl delete accesstoken,connectedapp -n $namespace gitproxy --timeout=30s >/dev/null
  eventually 15 "the app leaving the server" server_says '^404$'
  eventually 15 "the Secrets being collected" no_secrets
  ok "deregistered (404), and its Secrets are gone"
}

no_secrets() {
  [[ -z $(kubectl get secret -n $namespace -o name --ignore-not-found gitproxy-credentials gitproxy-token) ]]
}

# The vendor's examples want tokens of an hour, a user and an identity provider:
# another server, with the same program and files.
vendor_examples() {
  step "Vendor's examples"
  local idp=5f0c1e7a-9d24-4b86-8a3f-6e1d2c7b9054 password output
  memory >"$work/memory"
  password=$(head -c 18 /dev/urandom | base64)
  "$root/bin/tokenserver" user hash <<<"$password" >"$work/files/owner.hash"
  sed -e "/^  ownerID:/a\\  identityProviders: [{id: $idp, name: Partners}]" \
    -e "/^  ownerID:/a\\  assertions: {identityProviders: [$idp], withoutExpiry: true}" \
    -e "/^  username: owner/a\\  passwordHashFile: $work/files/owner.hash" \
    config/tokenserver/config.yaml >"$work/examples.yaml"
  config=$work/examples.yaml start_server examples 1h
  output=$(BASE_URL=$server_url CA_FILE=$work/ca.crt LOGIN=owner PASSWORD=$password IDP_ID=$idp test/vendor/examples.sh 2>&1) ||
    fail "$(tail -n 1 <<<"$output")"
  end examples
  ok "all $(grep -c '^✔' <<<"$output") requests run as they are printed"
  echo "     of $(grep -E '(Grant|Refresh Token)$' <<<"$output" | paste -sd , | sed 's/,/, /g')"
}

end_of_steps() {
  printf '\nResident memory at work:\n'
  cat "$work/memory"
  printf '\n%sAll %d steps held, in %ds.%s\n' "$green" "$number" "$SECONDS" "$reset"
}

# keep brings back what the last step deleted, and waits for Ctrl-C.
keep() {
  printf '\n'
  step "Still running"
  kubectl apply --server-side --force-conflicts -f "$work/samples.yaml" >/dev/null
  for kind in connectedapp accesstoken; do
    kubectl wait --for=condition=Ready --timeout=60s -n $namespace "$kind" --all >/dev/null 2>&1 || not_ready "$kind"
  done
  start_refresher
  ok "the samples are applied again, and every part runs until Ctrl-C"
  cat <<USE

Sign in with a browser:

$(yours)
     It warns of a certificate that this demo made: its authority is $link/ca.crt.

Look around in another terminal:

     export KUBECONFIG=$link/kubeconfig
     kubectl get tokenservers,connectedapps,accesstokens -A
     kubectl describe secret -n $namespace gitproxy-credentials
     watch cat $link/tokens/expires-at
     curl --cacert $link/ca.crt $url/accounts/api/v2/oauth2/.well-known/openid-configuration

Logs are in $link. Ctrl-C ends everything and removes it.
USE
  trap 'exit 0' INT
  while sleep 1; do
    tell_ended
    ((SECONDS % 5)) || follow_secrets
  done
}

# tell_ended says once that a program is no more. The others stay: somebody may
# run another in its place.
tell_ended() {
  local name
  for name in "${!pids[@]}"; do
    kill -0 "${pids[$name]}" 2>/dev/null && continue
    echo "$name ended; its log is $link/$name.log"
    unset "pids[$name]"
  done
}

# follow_secrets writes changed credentials into their folders, as the kubelet
# does.
follow_secrets() {
  local now
  now=$(kubectl get secret -n $namespace -o 'jsonpath={.items[*].metadata.resourceVersion}' 2>/dev/null) || return 0
  [[ $now != "${followed:-}" ]] || return 0
  followed=$now
  mount $namespace gitproxy-credentials "$work/credentials" 2>/dev/null || true
}

// SPDX-License-Identifier: Apache-2.0

package main

// configTemplate is the configuration that config init writes.
const configTemplate = `# Configuration of the token server; docs/tokenserver-configuration.md explains
# every field. Check an edit with: tokenserver config check tokenserver.yaml
# Paths are relative to this file. Organizations, users and apps are taken over
# while the server runs. Keep the ids: apps and tokens name them.
publicURL: {{.PublicURL}}
listen: "{{.Listen}}"
operationsListen: "{{.OperationsListen}}"
storage:
  sqlite:
    path: ` + fileDatabase + `
encryptionKeyFiles: [` + fileKey + `]
bootstrap:
  # For programs that manage apps.
  adminClient:
    clientID: ` + initClientID + `
    clientSecretFile: ` + fileSecret + `
organizations:
- id: {{.OrgID}}
  name: Main
  ownerID: {{.UserID}}
  environments:
  - id: {{.EnvironmentID}}
    name: Sandbox
    type: sandbox
users:
- id: {{.UserID}}
  organizationID: {{.OrgID}}
  username: "{{.Username}}"
  roles: [organization_administrator]
  # Another password: tokenserver user hash > ` + fileHash + `
  passwordHashFile: ` + fileHash + `
# An app of your own, for people to sign in to it (no secret: it runs where
# secrets cannot be kept). Take away the #.
# apps:
# - clientID: my-app
#   clientName: My app
#   grantTypes: [authorization_code, refresh_token]
#   redirectURIs: [http://127.0.0.1/callback]
#   scopes: [openid, profile, email, offline_access]
#   tokenEndpointAuthMethod: none
`

// explanation is what config init prints when it is done.
const explanation = `Written, for you alone to read:
  {{path "` + fileConfig + `"}}  the configuration
  {{path "` + fileKey + `"}}    encrypts the keys in the database; keep a copy apart from it
  {{path "` + fileSecret + `"}}     the secret of the administrator's client ` + initClientID + `
  {{path "` + fileHash + `"}}         the hash of the password of {{.Username}}

Start the server:
  tokenserver serve --config={{path "` + fileConfig + `" | shell}}

Sign in as {{.Username}}:
  {{.PublicURL}}/accounts/authorized-apps
{{- if .Generated}}
  password: {{.Generated}}   (shown this once)
{{- end}}

Get a token for a program that manages apps:
  curl -sS {{.PublicURL | shell}}/accounts/api/v2/oauth2/token -d grant_type=client_credentials -d client_id=` + initClientID +
	` --data-urlencode client_secret@{{path "` + fileSecret + `" | shell}}
`

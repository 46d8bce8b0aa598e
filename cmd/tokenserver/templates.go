// SPDX-License-Identifier: Apache-2.0

package main

// configTemplate is the configuration that config init writes.
const configTemplate = `# Configuration of the token server; docs/tokenserver-configuration.md explains
# every field. Check an edit with: tokenserver config check tokenserver.yaml
# Paths are relative to this file. Organizations, users and apps are taken over
# while the server runs. Keep the ids: apps and tokens name them.
publicURL: $PUBLIC_URL
listen: "$LISTEN"
operationsListen: "$OPERATIONS"
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
- id: $ORGANIZATION
  name: Main
  ownerID: $USER_ID
  environments:
  - id: $ENVIRONMENT
    name: Sandbox
    type: sandbox
users:
- id: $USER_ID
  organizationID: $ORGANIZATION
  username: "$USERNAME"
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
  $CONFIG  the configuration
  $KEY    encrypts the keys in the database; keep a copy apart from it
  $SECRET     the secret of the administrator's client ` + initClientID + `
  $HASH         the hash of the password of $USERNAME

Start the server:
  tokenserver serve --config=$SHELL_CONFIG

Sign in as $USERNAME:
  $PUBLIC_URL/accounts/authorized-apps
$PASSWORD_LINE
Get a token for a program that manages apps:
  curl -sS $SHELL_URL/accounts/api/v2/oauth2/token -d grant_type=client_credentials -d client_id=` + initClientID +
	` --data-urlencode client_secret@$SHELL_SECRET
`

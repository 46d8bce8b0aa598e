// SPDX-License-Identifier: Apache-2.0
import { receive, run, send } from './conversation.mjs'
import * as client from 'openid-client'

await run(async ({ issuer, clientID, clientSecret, machineID, machineSecret, redirectURI }) => {
  const options = { execute: [client.allowInsecureRequests] }
  const config = await client.discovery(new URL(issuer), clientID, undefined, client.ClientSecretPost(clientSecret), options)

  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI, scope: 'openid profile email offline_access', state, nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  send({ authorize: address.href })
  const { landed } = await receive()

  const tokens = await client.authorizationCodeGrant(config, new URL(landed), {
    pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true,
  })
  const { sub } = tokens.claims()
  const info = await client.fetchUserInfo(config, tokens.access_token, sub)
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token)
  const active = await client.tokenIntrospection(config, refreshed.access_token)
  await client.tokenRevocation(config, refreshed.refresh_token)
  const revoked = await client.refreshTokenGrant(config, refreshed.refresh_token).then(() => 'accepted', (e) => e.error)
  const inactive = await client.tokenIntrospection(config, refreshed.access_token)

  const machine = await client.discovery(new URL(issuer), machineID, undefined, client.ClientSecretBasic(machineSecret), options)
  const own = await client.clientCredentialsGrant(machine, { scope: 'profile' })

  return {
    sub, email: info.email, rotated: refreshed.refresh_token !== tokens.refresh_token, active: active.active,
    revoked, inactive: inactive.active, machineScope: own.scope,
    endSession: client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }).href,
  }
})

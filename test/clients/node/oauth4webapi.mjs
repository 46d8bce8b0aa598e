// SPDX-License-Identifier: Apache-2.0
import { receive, run, send } from './conversation.mjs'
import * as oauth from 'oauth4webapi'

await run(async ({ issuer, clientID, redirectURI }) => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const url = new URL(issuer)
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, insecure))
  const metadata = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }))
  const client = { client_id: clientID }

  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const nonce = oauth.generateRandomNonce()
  const address = new URL(server.authorization_endpoint)
  for (const [name, value] of Object.entries({
    client_id: clientID, response_type: 'code', redirect_uri: redirectURI, scope: 'openid profile offline_access', state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })) address.searchParams.set(name, value)
  send({ authorize: address.href })
  const { landed } = await receive()

  const parameters = oauth.validateAuthResponse(server, client, new URL(landed), state)
  const response = await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), parameters, redirectURI, verifier, insecure)
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true })
  const { sub } = oauth.getValidatedIdTokenClaims(tokens)
  const info = await oauth.processUserInfoResponse(server, client, sub, await oauth.userInfoRequest(server, client, tokens.access_token, insecure))
  const refreshed = await oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token, insecure))
  return { sub, username: info.preferred_username, rotated: refreshed.refresh_token !== tokens.refresh_token, sameMetadata: metadata.issuer === server.issuer }
})

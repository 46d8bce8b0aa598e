// SPDX-License-Identifier: Apache-2.0
// A resource server that verifies a JWT access token by RFC 9068.
import { run } from './conversation.mjs'
import * as oauth from 'oauth4webapi'

await run(async ({ issuer, token }) => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const url = new URL(issuer)
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, insecure))
  const request = new Request('http://127.0.0.1/resource', { headers: { authorization: `Bearer ${token}` } })
  const claims = await oauth.validateJwtAccessToken(server, request, issuer, insecure)
  const header = JSON.parse(Buffer.from(token.split('.')[0], 'base64url').toString())
  return { sub: claims.sub, client_id: claims.client_id, alg: header.alg }
})

// SPDX-License-Identifier: Apache-2.0
// The conversation with the Go test: one JSON object a line, first the
// configuration in, then an authorization URL out and where it led to in, at
// last the result out.
//
// Imported first, it also gives Node.js 18 what the libraries expect of newer
// ones.
import { webcrypto } from 'node:crypto'
import readline from 'node:readline'

globalThis.crypto ??= webcrypto
globalThis.CryptoKey ??= webcrypto.CryptoKey

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export async function receive() {
  const { value } = await lines.next()
  return JSON.parse(value)
}

export function send(message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}

// run calls main with the configuration and reports how it ended.
export async function run(main) {
  try {
    send({ result: await main(await receive()) })
    process.exit(0)
  } catch (error) {
    send({ error: `${error.stack ?? error} ${JSON.stringify(error.cause ?? '')}` })
    process.exit(1)
  }
}

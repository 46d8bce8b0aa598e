// SPDX-License-Identifier: Apache-2.0

package accesstoken

// TokensOfServer is tokensOfServer, for tests of the reconciler without a manager.
var TokensOfServer = (*Reconciler).tokensOfServer

// SPDX-License-Identifier: Apache-2.0

package pages

// Paths of the pages, which lead to each other.
const (
	// PathSignIn is the sign-in page; it comes back to its continue parameter.
	PathSignIn = "/accounts/sign-in"
	// PathDecision receives the decision made on the Authorize App page.
	PathDecision       = "/accounts/authorize-app"
	PathAuthorizedApps = "/accounts/authorized-apps"
	PathRevoke         = PathAuthorizedApps + "/revoke"
	PathSignOut        = "/accounts/sign-out"
)

// SPDX-License-Identifier: Apache-2.0

// Package plantest holds tables that are run against every reader of the same
// input: the plan, the CRDs, and policies that repeat their rules.
package plantest

import "strings"

// RedirectURI is a redirect URI and what a reader must make of it.
type RedirectURI struct {
	// Name says in a sentence what is special about the URI.
	Name string
	// URI is the redirect URI.
	URI string
	// Says is a part of the message that refuses the URI, whatever rules and
	// client there are; empty: it can be allowed.
	Says string
	// Host is the entry of redirectHosts that allows the URI; empty: none does.
	Host string
	// Scheme is the entry of redirectSchemes that allows the URI, for a public
	// client alone; empty: none does.
	Scheme string
}

// What messages say about the parts of a redirect URI.
const (
	saysCharacters = "must have no fragment, and neither spaces, backslashes"
	saysScheme     = "must begin with https://"
	saysSlash      = "must have exactly one slash after a private-use scheme"
	saysHost       = "must have a host name or address after ://"
	saysLoopback   = "must be https"
	saysPort       = "must have a port from 1 to 65535"
)

// RedirectURIs are redirect URIs that can be allowed and, after them, those that
// attack a reader: each looks like a URI that is allowed and sends the code
// elsewhere, or can be read in two ways.
func RedirectURIs() []RedirectURI {
	var all []RedirectURI
	for _, part := range [][]RedirectURI{webURIs(), nativeURIs(), authorityAttacks(), schemeAttacks(), nativeAttacks(), spellingAttacks()} {
		all = append(all, part...)
	}
	return all
}

func webURIs() []RedirectURI {
	return []RedirectURI{
		{Name: "https", URI: "https://app.example.com/callback", Host: "app.example.com"},
		{Name: "https without a path", URI: "https://app.example.com", Host: "app.example.com"},
		{Name: "https with a port and a query", URI: "https://app.example.com:8443/cb?a=b%20c", Host: "app.example.com"},
		{Name: "https with a query and no path", URI: "https://app.example.com?a=b", Host: "app.example.com"},
		{Name: "a host in upper case", URI: "https://APP.Example.com/", Host: "app.example.com"},
		{Name: "the highest port", URI: "https://app.example.com:65535/", Host: "app.example.com"},
		{Name: "an at sign in the path", URI: "https://app.example.com/@me", Host: "app.example.com"},
		{Name: "a URI in the query", URI: "https://app.example.com/?to=https://evil.example/@x", Host: "app.example.com"},
		{Name: "an address", URI: "https://192.0.2.7/cb", Host: "192.0.2.7"},
		{Name: "an address, version 6", URI: "https://[2001:db8::1]:8443/cb"},
		{Name: "http on localhost", URI: "http://localhost:8080/cb", Host: "localhost"},
		{Name: "http on 127.0.0.1", URI: "http://127.0.0.1/cb", Host: "127.0.0.1"},
		{Name: "http on [::1]", URI: "http://[::1]:99/cb", Host: "[::1]"},
		{Name: "a host within the allowed one's name", URI: "https://app.example.com.evil.example/", Host: "app.example.com.evil.example"},
		{Name: "a host that ends like the allowed one", URI: "https://evilapp.example.com/", Host: "evilapp.example.com"},
		{Name: "the allowed host in the path", URI: "https://evil.example/app.example.com", Host: "evil.example"},
		{Name: "the allowed host in the query", URI: "https://evil.example?@app.example.com/", Host: "evil.example"},
	}
}

func nativeURIs() []RedirectURI {
	return []RedirectURI{
		{Name: "a private-use scheme", URI: "com.example.app:/callback", Scheme: "com.example.app"},
		{Name: "a private-use scheme with the shortest path", URI: "com.example.app:/", Scheme: "com.example.app"},
		{Name: "a private-use scheme with a query", URI: "com.example.app:/oauth2/callback?env=a", Scheme: "com.example.app"},
		{Name: "a private-use scheme with digits and hyphens", URI: "com.googleusercontent.apps.123-a4b:/oauth2redirect", Scheme: "com.googleusercontent.apps.123-a4b"},
		{Name: "a private-use scheme of two labels", URI: "example.app:/cb", Scheme: "example.app"},
		{Name: "slashes and an at sign within a native app's path", URI: "com.example.app:/a//b@c:d", Scheme: "com.example.app"},
		{Name: "a scheme that begins like the allowed one", URI: "com.example.app.evil:/callback", Scheme: "com.example.app.evil"},
		{Name: "a scheme that ends like the allowed one", URI: "evil.com.example.app:/callback", Scheme: "evil.com.example.app"},
	}
}

func authorityAttacks() []RedirectURI {
	return []RedirectURI{
		{Name: "the allowed host as a user name", URI: "https://app.example.com@evil.example/", Says: saysHost},
		{Name: "the allowed host and port as user name and password", URI: "https://app.example.com:443@evil.example/", Says: saysHost},
		{Name: "a user name like the host", URI: "https://evil.example@evil.example/", Says: saysHost},
		{Name: "an empty user name", URI: "https://@app.example.com/", Says: saysHost},
		{Name: "two at signs", URI: "https://a@app.example.com@evil.example/", Says: saysHost},
		{Name: "an encoded at sign", URI: "https://app.example.com%40evil.example/", Says: saysHost},
		{Name: "an encoded slash in the host", URI: "https://evil.example%2f.app.example.com/", Says: saysHost},
		{Name: "an encoded letter in the host", URI: "https://%61pp.example.com/", Says: saysHost},
		{Name: "a semicolon in the host", URI: "https://evil.example;.app.example.com/", Says: saysHost},
		{Name: "a comma in the host", URI: "https://evil.example,app.example.com/", Says: saysHost},
		{Name: "no host", URI: "https:///callback", Says: saysHost},
		{Name: "no host and a query", URI: "https://?app.example.com/", Says: saysHost},
		{Name: "a port without a host", URI: "https://:443/", Says: saysHost},
		{Name: "an empty label", URI: "https://app..example.com/", Says: saysHost},
		{Name: "a dot at the end of the host", URI: "https://app.example.com./", Says: saysHost},
		{Name: "a wildcard", URI: "https://*.example.com/", Says: saysHost},
		{Name: "a name in brackets", URI: "https://[app.example.com]/", Says: saysHost},
		{Name: "an address with a zone", URI: "http://[::1%25eth0]/", Says: saysHost},
		{Name: "an address of version 6 without brackets", URI: "https://::1/", Says: saysHost},
		{Name: "an address of version 4 within one of version 6", URI: "http://[::ffff:127.0.0.1]/", Says: saysHost},
		{Name: "port 0", URI: "https://app.example.com:0/", Says: saysPort},
		{Name: "port 65536", URI: "https://app.example.com:65536/", Says: saysPort},
		{Name: "a port that overflows", URI: "https://app.example.com:99999999999999999999/", Says: saysPort},
		{Name: "a port with zeros before it", URI: "https://app.example.com:0443/", Says: saysPort},
		{Name: "a colon without a port", URI: "https://app.example.com:/", Says: saysPort},
		{Name: "a port that is no number", URI: "https://app.example.com:https/", Says: saysHost},
		{Name: "port 65536 on loopback", URI: "http://127.0.0.1:65536/", Says: saysPort},
	}
}

func schemeAttacks() []RedirectURI {
	return []RedirectURI{
		{Name: "http", URI: "http://app.example.com/", Says: saysLoopback},
		{Name: "http on a host that begins like localhost", URI: "http://localhost.evil.example/", Says: saysLoopback},
		{Name: "http on a host that begins like 127.0.0.1", URI: "http://127.0.0.1.evil.example/", Says: saysLoopback},
		{Name: "http on another address of loopback", URI: "http://127.1/", Says: saysLoopback},
		{Name: "http with loopback as a user name", URI: "http://127.0.0.1@evil.example/", Says: saysHost},
		{Name: "a script", URI: "javascript:alert(1)", Says: saysScheme},
		{Name: "a script that looks like a native app", URI: "javascript:/com.example.app:/callback", Says: saysScheme},
		{Name: "a script with a host", URI: "javascript://app.example.com/%0aalert(1)", Says: saysScheme},
		{Name: "a script in upper case", URI: "JavaScript:alert(1)", Says: saysScheme},
		{Name: "data", URI: "data:text/html,x", Says: saysScheme},
		{Name: "a file", URI: "file:///etc/passwd", Says: saysScheme},
		{Name: "a file with one slash", URI: "file:/etc/passwd", Says: saysScheme},
		{Name: "a blob", URI: "blob:https://app.example.com/1", Says: saysScheme},
		{Name: "vbscript", URI: "vbscript:msgbox(1)", Says: saysScheme},
		{Name: "an intent", URI: "intent:/callback", Says: saysScheme},
		{Name: "about", URI: "about:blank", Says: saysScheme},
		{Name: "a scheme without a dot", URI: "myapp:/callback", Says: saysScheme},
		{Name: "https with one slash", URI: "https:/app.example.com/", Says: saysScheme},
		{Name: "https without a slash", URI: "https:app.example.com", Says: saysScheme},
		{Name: "https in upper case", URI: "HTTPS://app.example.com/", Says: saysScheme},
		{Name: "a path", URI: "/callback", Says: saysScheme},
		{Name: "a host without a scheme", URI: "//app.example.com/", Says: saysScheme},
		{Name: "a host and a port without a scheme", URI: "app.example.com:8443", Says: saysSlash},
		{Name: "out of band", URI: "urn:ietf:wg:oauth:2.0:oob", Says: saysScheme},
	}
}

func nativeAttacks() []RedirectURI {
	return []RedirectURI{
		{Name: "a private-use scheme without a slash", URI: "com.example.app:callback", Says: saysSlash},
		{Name: "a private-use scheme without anything", URI: "com.example.app:", Says: saysSlash},
		{Name: "a private-use scheme and a query alone", URI: "com.example.app:?a=b", Says: saysSlash},
		{Name: "a private-use scheme with a host", URI: "com.example.app://callback", Says: saysSlash},
		{Name: "a private-use scheme with an empty host", URI: "com.example.app:///callback", Says: saysSlash},
		{Name: "a private-use scheme with a user name", URI: "com.example.app://a@evil.example/", Says: saysSlash},
		{Name: "a private-use scheme with a broken percent-encoding", URI: "com.example.app:/%zz", Says: saysSlash},
		{Name: "a private-use scheme in upper case", URI: "COM.example.app:/callback", Says: saysScheme},
		{Name: "a private-use scheme with a plus", URI: "com.example+app:/callback", Says: saysScheme},
		{Name: "a private-use scheme with an underscore", URI: "com.example_app:/callback", Says: saysScheme},
		{Name: "a private-use scheme that begins with a digit", URI: "1com.example:/callback", Says: saysScheme},
		{Name: "a private-use scheme that begins with a dot", URI: ".com.example:/callback", Says: saysScheme},
		{Name: "a private-use scheme that ends with a dot", URI: "com.example.:/callback", Says: saysScheme},
		{Name: "a private-use scheme with an empty label", URI: "com..example:/callback", Says: saysScheme},
		{Name: "a private-use scheme with a wildcard", URI: "com.example.*:/callback", Says: saysScheme},
		{Name: "a private-use scheme with a fragment", URI: "com.example.app:/callback#x", Says: saysCharacters},
		{Name: "a private-use scheme and a backslash", URI: `com.example.app:/\evil.example/`, Says: saysCharacters},
	}
}

func spellingAttacks() []RedirectURI {
	return []RedirectURI{
		{Name: "nothing", URI: "", Says: saysScheme},
		{Name: "a fragment", URI: "https://app.example.com/#x", Says: saysCharacters},
		{Name: "an empty fragment", URI: "https://app.example.com/#", Says: saysCharacters},
		{Name: "a fragment before the host", URI: "https://evil.example#@app.example.com/", Says: saysCharacters},
		{Name: "a backslash before an at sign", URI: `https://evil.example\@app.example.com/`, Says: saysCharacters},
		{Name: "a backslash for a slash", URI: `https:\\app.example.com\`, Says: saysCharacters},
		{Name: "a space", URI: "https://app.example.com/a b", Says: saysCharacters},
		{Name: "a space before it", URI: " https://app.example.com/", Says: saysCharacters},
		{Name: "a line end", URI: "https://app.example.com/\r\nSet-Cookie: a", Says: saysCharacters},
		{Name: "a tab within the scheme", URI: "java\tscript:alert(1)", Says: saysCharacters},
		{Name: "a letter that looks like another", URI: "https://\u0430pp.example.com/", Says: saysCharacters},
		{Name: "a full-width dot", URI: "https://app\uff0eexample.com/", Says: saysCharacters},
		{Name: "a broken percent-encoding", URI: "https://app.example.com/%zz", Says: saysHost},
		{Name: "a percent-encoding that ends too early", URI: "https://app.example.com/%a", Says: saysHost},
		{Name: "a scheme longer than a domain name", URI: "com." + strings.Repeat("a", 253) + ":/cb", Says: saysScheme},
		{Name: "a host longer than a domain name", URI: "https://" + strings.Repeat("a.", 127) + "com/", Says: saysHost},
	}
}

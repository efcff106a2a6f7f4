// An identity provider for tests: oidc-provider over HTTPS, where anyone who gives a name is that person. Arguments: issuer, port, certificate,
// key, redirect URIs. Everyone who logs in is in the group `people`.
//
// Two paths more, for tests alone: POST /sign gives a token of the claims in its body (with `?alg=`, `?old=1` by the key before), POST /rotate
// takes another key to sign with.
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import Provider from 'oidc-provider';

const [issuer, port, certificate, key, ...redirects] = process.argv.slice(2);

const pairs = [];
async function rotate() {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  const about = { kid: `key-${pairs.length}`, use: 'sig', alg: 'RS256' };
  pairs.push({
    privateKey,
    kid: about.kid,
    open: { ...(await exportJWK(publicKey)), ...about },
    whole: { ...(await exportJWK(privateKey)), ...about },
  });
}
await rotate();

const provider = new Provider(issuer, {
  clients: [{ client_id: 'cordwood', client_secret: 'a secret: with % and +', redirect_uris: redirects }],
  jwks: { keys: [pairs[0].whole] },
  cookies: { keys: ['of tests'] },
  claims: { openid: ['sub', 'groups', 'name'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: ['people'], name: id }),
  }),
});
const answer = provider.callback();

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const url = new URL(request.url, issuer);
  const say = (status, text) => response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  if (url.pathname === '/jwks') return say(200, JSON.stringify({ keys: pairs.map((pair) => pair.open) }));
  if (url.pathname === '/rotate') {
    await rotate();
    return say(200, '{}');
  }
  if (url.pathname === '/sign') {
    const pair = url.searchParams.has('old') ? pairs[0] : pairs.at(-1);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: 'cordwood', iat: now, exp: now + 600, ...JSON.parse(await body(request)) };
    const token = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: pair.kid }).sign(pair.privateKey);
    return say(200, JSON.stringify(token));
  }
  return answer(request, response);
}).listen(Number(port), new URL(issuer).hostname, () => console.log(`ready: ${issuer}`));

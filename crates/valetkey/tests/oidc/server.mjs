// Real authorization servers for the tests: several oidc-provider instances in one process, each with a small API behind it.
//
// Reads one line of JSON on stdin: {"name": {"clients": [...], "accessTtl": 5}, ...}; prints one line on stdout when all
// of them listen: READY {"name": "http://127.0.0.1:port", ...}. Ends when stdin ends, so that no test leaves it behind.
//
// Beside the OAuth endpoints an instance has
//   GET  /api/whoami               who the access token stands for; 401 if the provider does not know it (any more)
//   *    /api/echo                 what was received, behind the same check
//   GET  /__t/stats                hits per route, and per grant type at the token endpoint
//   GET  /__t/log                  the requests so far: method, path, query, some headers, form
//   POST /__t/reset                forgets stats, log and faults
//   POST /__t/fault                {"path", "grantType"?, "times"?, "status"?, "body"?, "drop": "before"|"after"?}
//   POST /__t/accounts             {"sub": {more claims}, ...}: what ID tokens say of people besides who they are
//   POST /__t/headers              {"name": "value", ...}: headers that all pages have from now on
//   POST /__t/reject-access-tokens the API answers 401 to every access token seen so far
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const WATCHED_HEADERS = ['authorization', 'content-type', 'accept', 'user-agent'];

class Instance {
  stats = {};
  log = [];
  faults = [];
  issued = new Set();
  rejected = new Set();
  accounts = {};
  headers = {};

  constructor(issuer, settings) {
    this.provider = new Provider(issuer, {
      clients: settings.clients,
      cookies: { keys: [randomBytes(24).toString('hex')] },
      scopes: ['openid', 'offline_access', 'profile', 'email', 'read', 'write'],
      claims: { openid: ['sub', 'roles'], profile: ['name'], email: ['email', 'email_verified'] },
      conformIdTokenClaims: false,
      ttl: { AccessToken: settings.accessTtl ?? 3600, AuthorizationCode: 60, RefreshToken: 86400, Interaction: 600, Session: 86400, Grant: 86400, IdToken: 600 },
      findAccount: async (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, ...this.accounts[sub] }) }),
      issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
      rotateRefreshToken: () => true,
      pkce: { required: () => true },
      features: {
        devInteractions: { enabled: true },
        revocation: { enabled: true },
        pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: settings.pushedOnly === true },
      },
    });
    this.provider.on('access_token.saved', (token) => this.issued.add(token.jti));
    this.handle = this.provider.callback();
  }

  async serve(req, res) {
    const url = new URL(req.url, this.provider.issuer);
    const body = await read(req);
    if (url.pathname.startsWith('/__t/')) return this.control(url.pathname, body, res);
    if (url.pathname.startsWith('/api/')) return this.api(req, url, body, res);
    const isForm = req.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
    const form = isForm ? Object.fromEntries(new URLSearchParams(body)) : undefined;
    this.note(req, url, form);
    const fault = this.takeFault(url.pathname, form?.grant_type);
    if (fault?.drop === 'before') return req.socket.destroy();
    if (fault?.status) return answer(res, fault.status, fault.body ?? { error: 'temporarily_unavailable' });
    if (fault?.drop === 'after') res.end = () => req.socket.destroy();
    for (const [name, value] of Object.entries(this.headers)) res.setHeader(name, value);
    if (body) req.body = body; // oidc-provider takes a body that was read already from here
    return this.handle(req, res);
  }

  /** The API: takes what the provider's own model calls a live access token. */
  async api(req, url, body, res) {
    this.note(req, url);
    const value = /^Bearer ([^ ]+)$/.exec(req.headers.authorization ?? '')?.[1];
    const token = value && await this.provider.AccessToken.find(value);
    if (!token || token.isExpired || this.rejected.has(token.jti)) {
      this.count('api 401');
      res.setHeader('www-authenticate', 'Bearer error="invalid_token"');
      return answer(res, 401, { error: 'invalid_token' });
    }
    this.count('api 200');
    if (url.pathname === '/api/whoami') return answer(res, 200, { sub: token.accountId, client: token.clientId, scope: token.scope });
    const { authorization, ...headers } = req.headers;
    return answer(res, 200, { sub: token.accountId, method: req.method, path: url.pathname, query: url.search, headers, body });
  }

  control(path, body, res) {
    switch (path) {
      case '/__t/stats': return answer(res, 200, this.stats);
      case '/__t/log': return answer(res, 200, this.log);
      case '/__t/reset': this.stats = {}; this.log = []; this.faults = []; break;
      case '/__t/fault': this.faults.push({ times: 1, ...JSON.parse(body) }); break;
      case '/__t/accounts': this.accounts = JSON.parse(body); break;
      case '/__t/headers': this.headers = JSON.parse(body); break;
      case '/__t/reject-access-tokens': this.rejected = new Set(this.issued); break;
      default: return answer(res, 404, { error: 'unknown control path' });
    }
    return answer(res, 200, {});
  }

  takeFault(path, grantType) {
    const fault = this.faults.find((f) => f.path === path && (!f.grantType || f.grantType === grantType));
    if (fault && --fault.times === 0) this.faults.splice(this.faults.indexOf(fault), 1);
    return fault;
  }

  note(req, url, form) {
    this.count(`${req.method} ${url.pathname.replace(/^\/(interaction|auth)\/[^/]{20,}/, '/$1/:id')}`);
    if (form?.grant_type) this.count(`grant ${form.grant_type}`);
    const headers = Object.fromEntries(WATCHED_HEADERS.filter((h) => req.headers[h]).map((h) => [h, req.headers[h]]));
    this.log.push({ method: req.method, path: url.pathname, query: Object.fromEntries(url.searchParams), headers, form });
  }

  count(what) {
    this.stats[what] = (this.stats[what] ?? 0) + 1;
  }
}

async function read(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function answer(res, status, value) {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify(value));
}

/** The issuer holds the port, so the port is taken first and the provider made for it. */
function start(settings) {
  return new Promise((resolve) => {
    let instance;
    const server = createServer((req, res) => instance.serve(req, res).catch((error) => {
      console.error(error);
      req.socket.destroy();
    }));
    server.listen(0, '127.0.0.1', () => {
      const issuer = `http://127.0.0.1:${server.address().port}`;
      instance = new Instance(issuer, settings);
      resolve(issuer);
    });
  });
}

const input = createInterface({ input: process.stdin });
input.once('line', async (line) => {
  const started = Object.entries(JSON.parse(line)).map(async ([name, settings]) => [name, await start(settings)]);
  console.log(`READY ${JSON.stringify(Object.fromEntries(await Promise.all(started)))}`);
});
input.once('close', () => process.exit());

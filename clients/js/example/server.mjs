// An application with accounts of its own, which connects them with valetkey. Node alone, no packages.
//
//   VALETKEY_URL=http://localhost:7420 VALETKEY_KEY=vk_… CONNECTOR=notion node server.mjs
//
// The API key stays here. A browser gets a cookie, the cookie is somebody, and what the browser asks is forwarded to valetkey in
// that person's name: four requests, and nothing else.
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { moduleOf } from './modules.mjs';

const { VALETKEY_URL = 'http://localhost:7420', VALETKEY_KEY, CONNECTOR, PORT = '3000', HOST = '127.0.0.1', NODE_MODULES } = process.env;
if (!VALETKEY_KEY || !CONNECTOR) throw new Error('set VALETKEY_KEY and CONNECTOR');

/** Who is behind a cookie. An application has a sign-in for this. @type {Map<string, string>} */
const sessions = new Map();

const FORWARDED = new Set([
  `/connector/${encodeURIComponent(CONNECTOR)}/_start_oauth_flow`,
  `/connector/${encodeURIComponent(CONNECTOR)}/_oauth_cancel`,
  `/connector/${encodeURIComponent(CONNECTOR)}/_oauth_disconnect`,
  '/connectors/_me/auth_status',
]);

const FILES = new Map([
  ['/', ['page.html', 'text/html; charset=utf-8']],
  ['/react', ['react.html', 'text/html; charset=utf-8']],
  ['/return', ['return.html', 'text/html; charset=utf-8']],
  ['/page.js', ['page.js', 'text/javascript']],
  ['/react.js', ['react-page.js', 'text/javascript']],
  ['/return.js', ['return.js', 'text/javascript']],
  ['/style.css', ['style.css', 'text/css']],
  ['/valetkey/index.js', ['../src/index.js', 'text/javascript']],
  ['/valetkey/react.js', ['../src/react.js', 'text/javascript']],
]);

/** The one script that has to stand in a page. */
const IMPORTS = JSON.stringify({
  imports: {
    '@valetkey/client': '/valetkey/index.js',
    '@valetkey/client/react': '/valetkey/react.js',
    react: '/modules/react.js',
    'react-dom/client': '/modules/react-dom/client.js',
  },
});
const IMPORTS_HASH = createHash('sha256').update(IMPORTS).digest('base64');
const POLICY = `default-src 'none'; script-src 'self' 'sha256-${IMPORTS_HASH}'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** @param {import('node:http').IncomingMessage} req @param {import('node:http').ServerResponse} res */
async function serve(req, res) {
  const { pathname } = new URL(req.url ?? '/', 'http://here');
  if (pathname.startsWith('/api/valetkey/')) return forward(req, res, pathname.slice('/api/valetkey'.length));
  if (pathname.startsWith('/modules/') && NODE_MODULES) {
    return answer(res, 200, await moduleOf(NODE_MODULES, pathname.slice('/modules/'.length)), 'text/javascript');
  }
  const file = FILES.get(pathname);
  if (!file || req.method !== 'GET') return answer(res, 404, 'not found', 'text/plain');
  const [name, type] = file;
  let text = await readFile(new URL(name, import.meta.url), 'utf8');
  if (name.endsWith('.html')) {
    text = text.replace('{{imports}}', IMPORTS).replace('{{connector}}', escaped(CONNECTOR ?? ''));
    if (!userOf(req)) {
      const id = randomUUID();
      sessions.set(id, `guest-${sessions.size + 1}`);
      res.setHeader('set-cookie', `example-session=${id}; Path=/; HttpOnly; SameSite=Lax`);
    }
  }
  answer(res, 200, text, type);
}

/** @param {import('node:http').IncomingMessage} req @param {import('node:http').ServerResponse} res @param {string} path */
async function forward(req, res, path) {
  if (req.method !== 'POST' || !FORWARDED.has(path)) return refuse(res, 404, 'There is no such thing here');
  // A form or a link of another site cannot send this header.
  if (req.headers['kbn-xsrf'] !== 'true') return refuse(res, 403, 'This request was not made by our own page');
  const user = userOf(req);
  if (!user) return refuse(res, 401, 'You are signed out: load the page again');
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > 16 * 1024) return refuse(res, 413, 'The request is too large');
    chunks.push(chunk);
  }
  const answered = await fetch(`${VALETKEY_URL}/api/actions${path}`, {
    method: 'POST',
    headers: { authorization: `ApiKey ${VALETKEY_KEY}`, 'x-valetkey-user': user, 'content-type': 'application/json' },
    body: Buffer.concat(chunks),
  });
  const wait = answered.headers.get('retry-after');
  if (wait) res.setHeader('retry-after', wait);
  answer(res, answered.status, await answered.text(), 'application/json');
}

/** @param {import('node:http').IncomingMessage} req */
function userOf(req) {
  const id = /(?:^|; )example-session=([^;]+)/.exec(req.headers.cookie ?? '')?.[1];
  return id && sessions.get(id);
}

/** @param {import('node:http').ServerResponse} res @param {number} statusCode @param {string} message */
const refuse = (res, statusCode, message) => answer(res, statusCode, JSON.stringify({ statusCode, message }), 'application/json');

/** @param {import('node:http').ServerResponse} res @param {number} status @param {string} text @param {string} type */
function answer(res, status, text, type) {
  res.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-security-policy': POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  });
  res.end(text);
}

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

const server = createServer((req, res) => {
  serve(req, res).catch((error) => {
    console.error(error);
    refuse(res, 502, 'Something went wrong here: try again later');
  });
});
server.listen(Number(PORT), HOST, () => {
  const address = server.address();
  console.log(`listening on http://${HOST}:${typeof address === 'object' ? address?.port : PORT}`);
});

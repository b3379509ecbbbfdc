// @ts-check
// The real binary on a fresh data directory, and its HTTP API as a client of it.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Program, freePort } from './process.js';

const BINARY = process.env.VALETKEY_TEST_BINARY ?? fileURLToPath(new URL('../../../target/debug/valetkey', import.meta.url));

/** An answer of the API that is not the expected one. */
export class ApiError extends Error {
  /** @param {number} status @param {any} body @param {string} what */
  constructor(status, body, what) {
    super(`${what}: ${status} ${JSON.stringify(body)}`);
    this.status = status;
    this.body = body;
  }
}

export class Valetkey {
  /** @param {number} port @param {string} host */
  constructor(port, host) {
    this.port = port;
    this.base = `http://${host}:${port}`;
    this.adminKey = `vk_${randomBytes(24).toString('base64url')}`;
  }

  /**
   * @param {{ port?: number, host?: string, settings?: Record<string, string> }} [options] `settings`: `VALETKEY_{name}`
   */
  static async start({ port, host = '127.0.0.1', settings = {} } = {}) {
    const valetkey = new Valetkey(port ?? (await freePort()), host);
    valetkey.dir = await mkdtemp(join(tmpdir(), 'valetkey-browser-'));
    const all = {
      LISTEN: `127.0.0.1:${valetkey.port}`,
      PUBLIC_BASE_URL: valetkey.base,
      DATA_DIR: join(valetkey.dir, 'data'),
      BOOTSTRAP_API_KEY: valetkey.adminKey,
      ALLOW_NETWORKS: '127.0.0.0/8',
      ALLOW_INSECURE_HTTP: '127.0.0.1,localhost',
      ...settings,
    };
    valetkey.env = Object.fromEntries(Object.entries(all).map(([name, value]) => [`VALETKEY_${name}`, value]));
    await valetkey.run();
    return valetkey;
  }

  /** Runs the binary on its data directory. */
  async run() {
    this.program = new Program(BINARY, ['serve'], { env: this.env, cwd: this.dir });
    await this.program.said(/listening on http/);
  }

  /**
   * Changes what is stored, as time would, or what cannot be brought about from outside. The server is stopped meanwhile.
   * @param {string} sql
   */
  async rewrite(sql) {
    await this.program?.stop();
    await promisify(execFile)('sqlite3', [join(String(this.dir), 'data', 'valetkey.db'), sql]);
    await this.run();
  }

  async stop() {
    await this.program?.stop();
    if (this.dir) await rm(this.dir, { recursive: true, force: true });
  }

  /** Everything that the process wrote. */
  get output() {
    return this.program?.output ?? '';
  }

  /**
   * A request with the admin key; `user` is acted for. Fails unless the answer is a good one.
   * @param {string} path
   * @param {{ method?: string, body?: unknown, user?: string }} [options]
   * @returns {Promise<any>}
   */
  async api(path, { method, body, user } = {}) {
    const answer = await fetch(this.base + path, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        authorization: `ApiKey ${this.adminKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(user ? { 'x-valetkey-user': user } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const value = text ? JSON.parse(text) : undefined;
    if (!answer.ok) throw new ApiError(answer.status, value, path);
    return value;
  }

  /** @param {string} id @param {Record<string, unknown>} body */
  createConnector(id, body) {
    return this.api(`/api/actions/connector/${encodeURIComponent(id)}`, { body });
  }

  /**
   * Starts a flow.
   * @param {string} id
   * @param {{ user?: string } & Record<string, unknown>} [options] all but `user` goes into the body
   * @returns {Promise<{ authorizationUrl: string, state: string, expiresAt: string }>}
   */
  startFlow(id, { user, ...body } = {}) {
    return this.api(`/api/actions/connector/${encodeURIComponent(id)}/_start_oauth_flow`, { body, user });
  }

  /**
   * `connected`, `not_connected`, …
   * @param {string} id @param {string} [user]
   * @returns {Promise<string>}
   */
  async standing(id, user) {
    const all = await this.api('/api/actions/connectors/_me/auth_status', { body: { connectorIds: [id] }, user });
    return all[id]?.user_auth_status;
  }
}

// @ts-check
// Programs that a test starts and stops.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';

const START_LIMIT = 20_000;

/** A running program. */
export class Program {
  /**
   * @param {string} command
   * @param {string[]} args
   * @param {{ env?: Record<string, string>, cwd?: string, input?: string }} [options]
   */
  constructor(command, args, { env = {}, cwd, input } = {}) {
    this.command = command;
    this.output = '';
    /** @type {Set<() => void>} */
    this.watchers = new Set();
    this.child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.output += text;
        this.watchers.forEach((look) => look());
      });
    }
    /** @type {Promise<void>} */
    this.ended = new Promise((resolve) => {
      this.child.once('close', () => {
        this.isOver = true;
        this.watchers.forEach((look) => look());
        resolve();
      });
      this.child.once('error', (error) => {
        this.output += `${error}\n`;
        this.isOver = true;
        this.watchers.forEach((look) => look());
        resolve();
      });
    });
    // Standard input stays open: it ends with us, however we end.
    if (input) this.child.stdin.write(input);
  }

  /**
   * Waits until the program has written something, and answers with what matched.
   * @param {RegExp} pattern
   * @returns {Promise<RegExpMatchArray>}
   */
  said(pattern) {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.watchers.delete(look);
      };
      const look = () => {
        const match = this.output.match(pattern);
        if (match) {
          done();
          resolve(match);
        } else if (this.isOver) {
          done();
          reject(new Error(`${this.command} ended before it said ${pattern}:\n${this.output}`));
        }
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`${this.command} did not say ${pattern}:\n${this.output}`));
      }, START_LIMIT);
      this.watchers.add(look);
      look();
    });
  }

  async stop() {
    this.child.stdin.destroy();
    if (!this.isOver) this.child.kill('SIGTERM');
    await this.ended;
  }
}

/** A port that nobody listens on now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = /** @type {import('node:net').AddressInfo} */ (server.address());
      server.close(() => resolve(address.port));
    });
  });
}

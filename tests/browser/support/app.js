// @ts-check
// The example of the client library: an application that keeps the API key and forwards. On another site than valetkey.
import { fileURLToPath } from 'node:url';
import { Program } from './process.js';

const SERVER = fileURLToPath(new URL('../../../clients/js/example/server.mjs', import.meta.url));
const NODE_MODULES = fileURLToPath(new URL('../node_modules', import.meta.url));

export class App {
  /** @param {number} port */
  static origin(port) {
    return `http://localhost:${port}`;
  }

  /** @param {number} port @param {import('./valetkey.js').Valetkey} valetkey @param {string} connector */
  static async start(port, valetkey, connector) {
    const app = new App();
    app.base = App.origin(port);
    const env = {
      VALETKEY_URL: valetkey.base,
      VALETKEY_KEY: valetkey.adminKey,
      CONNECTOR: connector,
      PORT: String(port),
      NODE_MODULES,
    };
    app.program = new Program(process.execPath, [SERVER], { env });
    await app.program.said(/listening on/);
    return app;
  }

  async stop() {
    await this.program?.stop();
  }
}

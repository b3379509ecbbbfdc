// The part of Preact's types that the console needs.
export function h(type: any, props: any, ...children: any[]): any;
export function render(node: any, parent: Element): void;
export const Fragment: any;
export function createContext<T>(initial: T): { Provider: any; initial: T };

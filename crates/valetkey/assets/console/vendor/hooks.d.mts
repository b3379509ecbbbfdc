// The part of Preact's types that the console needs. State may be anything: most of it is what the API answered.
export function useState<T = any>(initial: T | (() => T)): [any, (next: any) => void];
export function useEffect(run: () => void | (() => void), keys?: readonly unknown[]): void;
export function useLayoutEffect(run: () => void | (() => void), keys?: readonly unknown[]): void;
export function useRef<T = any>(initial: T): { current: any };
export function useContext<T>(context: { initial: T }): T;
export function useMemo<T>(make: () => T, keys: readonly unknown[]): T;
export function useCallback<T>(call: T, keys: readonly unknown[]): T;
export function useId(): string;
export function useErrorBoundary(): [any, () => void];

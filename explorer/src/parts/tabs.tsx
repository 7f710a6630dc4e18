/** One of several views at a time. Arrow keys move between the tabs, as people who use them expect. */

import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";

interface TabsProps {
  name: string; // what the tabs choose, for screen readers
  tabs: { key: string; title: ComponentChildren }[];
  chosen: string;
  choose: (key: string) => void;
  children: ComponentChildren;
}

const STEPS: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1 };

export function Tabs({ name, tabs, chosen, choose, children }: TabsProps) {
  const id = useId();
  const row = useRef<HTMLDivElement>(null);
  const go = (position: number) => {
    const next = (position + tabs.length) % tabs.length;
    choose((tabs[next] as { key: string }).key);
    (row.current?.children[next] as HTMLElement | undefined)?.focus();
  };
  const pressed = (event: KeyboardEvent) => {
    const at = tabs.findIndex(({ key }) => key === chosen);
    if (event.key in STEPS) go(at + (STEPS[event.key] as number));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(tabs.length - 1);
    else return;
    event.preventDefault();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={name} ref={row} onKeyDown={pressed}>
        {tabs.map(({ key, title }) => (
          <button
            key={key}
            type="button"
            role="tab"
            id={`${id}-${key}`}
            aria-selected={key === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={key === chosen ? 0 : -1}
            onClick={() => choose(key)}
          >
            {title}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`}>
        {children}
      </div>
    </>
  );
}

/**
 * A text field that completes: the combobox with a list box of the WAI-ARIA practices.
 *
 * Arrow keys move in the list, Enter takes, Escape closes. The focus stays in the field.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { useLoad } from "../load";
import { Failure } from "./state";

const PAUSE_MS = 90; // of typing, before it is asked

interface ComboboxProps<T> {
  label: string;
  placeholder: string;
  find: (text: string, signal: AbortSignal) => Promise<T[]>;
  keyOf: (option: T) => string;
  draw: (option: T) => ComponentChildren;
  take: (option: T) => void;
  shortcut?: string; // a key that brings the focus here from anywhere
}

export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

function useShortcut(key: string | undefined, field: { current: HTMLInputElement | null }): void {
  useEffect(() => {
    if (!key) return;
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== key || event.ctrlKey || event.metaKey || target.matches("input, select, textarea")) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [key]);
}

export function Combobox<T>({ label, placeholder, find, keyOf, draw, take, shortcut }: ComboboxProps<T>) {
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(0);
  useShortcut(shortcut, field);

  const asked = useSettled(text.trim());
  const { data, error, loading } = useLoad(open ? `?${asked}` : undefined, (signal) => find(asked, signal));
  const options = data ?? [];
  const at = Math.min(active, options.length - 1);

  useEffect(() => setActive(0), [data]);
  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);

  const chosen = (option: T) => {
    take(option);
    setText("");
    setOpen(false);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!open) setOpen(true);
      else if (options.length) setActive((at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length);
    } else if (event.key === "Enter" && open && !loading && asked === text.trim() && options[at] !== undefined) {
      chosen(options[at]);
    } else if (event.key === "Escape" && (open || text)) {
      if (!open) setText("");
      setOpen(false);
    } else return;
    event.preventDefault();
  };
  const settled = open && !loading && asked === text.trim();

  return (
    <div class="combobox">
      <input
        ref={field}
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded={open && options.length > 0}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={open && options.length ? `${id}-${at}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={pressed}
      />
      {shortcut && <kbd aria-hidden="true">{shortcut}</kbd>}
      {open && (
        <div class="popup">
          <ul role="listbox" tabIndex={-1} id={`${id}-list`} aria-label={label} ref={list} hidden={!options.length}>
            {options.map((option, position) => (
              <li
                key={keyOf(option)}
                id={`${id}-${position}`}
                role="option"
                aria-selected={position === at}
                onPointerMove={() => setActive(position)}
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => chosen(option)}
              >
                {draw(option)}
              </li>
            ))}
          </ul>
          {error && <Failure error={error} />}
          {settled && !error && !options.length && <p class="empty">Nothing found for “{asked}”.</p>}
        </div>
      )}
      <span class="hidden" role="status">
        {settled && !error ? `${options.length} found` : ""}
      </span>
    </div>
  );
}

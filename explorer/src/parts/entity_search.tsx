/** The search for entities by name or id, over all types or one. */

import { type Ref, search } from "../api";
import { joinRef } from "../route";
import { Combobox } from "./combobox";
import { TypeMark } from "./entity";

const NUM_OPTIONS = 12;

interface EntitySearchProps {
  label: string;
  placeholder: string;
  type?: string;
  take: (entity: Ref) => void;
  shortcut?: string;
}

export const EntitySearch = ({ type, ...rest }: EntitySearchProps) => (
  <Combobox<Ref>
    {...rest}
    find={(text, signal) => search(text, type, NUM_OPTIONS, signal)}
    keyOf={joinRef}
    draw={(entity) => (
      <>
        <span class="name">{entity.name}</span>
        <TypeMark type={entity.type} />
      </>
    )}
  />
);

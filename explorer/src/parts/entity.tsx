/** An entity where it is named: its type by color and word, its name as a link to its card. */

import { useEffect } from "preact/hooks";
import { type Entity, getImage, type Ref } from "../api";
import { cssOf, typeColor } from "../color";
import { useInfo } from "../context";
import { label } from "../format";
import { useLoad } from "../load";
import { entityHash } from "../route";

export function TypeMark({ type, word = true }: { type: string; word?: boolean }) {
  const color = cssOf(typeColor(useInfo().types, type));
  return (
    <span class="type-mark">
      <span class="dot" style={{ background: color }} aria-hidden="true" />
      {word ? label(type) : <span class="hidden">{label(type)}</span>}
    </span>
  );
}

export const EntityLink = ({ entity }: { entity: Ref }) => (
  <a class="entity-link" href={entityHash(entity)} title={`${entity.name} (${label(entity.type)} ${entity.id})`}>
    {entity.name}
  </a>
);

/** The image of an entity, or its first letter on the color of its type, of the same size. */
export function Picture({ entity }: { entity: Entity }) {
  const address = entity.image ?? undefined;
  const { data, loading } = useLoad(address, (signal) => getImage(address as string, signal));
  useEffect(() => () => data && URL.revokeObjectURL(data), [data]);
  const color = cssOf(typeColor(useInfo().types, entity.type));
  if (data && !loading) return <img class="picture" src={data} alt={entity.name} />;
  return (
    <div class="picture letter" style={{ "--type": color }} aria-hidden="true">
      {Array.from(entity.name)[0]?.toUpperCase()}
    </div>
  );
}

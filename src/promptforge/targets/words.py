"""Words of lettering: what bears text, what says it, what it is called, how it is made. Patterns without groups."""

# In the singular; plurals by an optional s.
CARRIER = (
    r"(?:sign(?:post|board|age)?|street ?sign|banner|poster|placard|board|billboard|chalkboard|blackboard|whiteboard|"
    r"(?:t-?|tee |sweat)?shirt|tee|hoodie|sweater|jersey|jacket|apron|hat|cap|mug|cup|card|postcard|note|sticker|label|"
    r"tag|plate|plaque|book|cover|newspaper|magazine|headline|screen|display|monitor|wall|graffiti|mural|tattoo|neon|"
    r"text|title|word|phrase|letter(?:s|ing)?|message|caption|quote|slogan|font|typography|calligraphy|inscription|"
    r"engraving|speech bubble|bubble|cake|icing|store ?front|shop ?front|window|marquee|logo|wordmark|flag|paper|page|"
    r"parchment|document|scroll|tomb ?stone|gravestone|headstone|door|(?:door)?mat|box|bottle|bag|balloon|sidewalk|"
    r"sash|ticket|stamp|badge|patch|medal|envelope|notebook|helmet|package|packaging|menu|map|button|decal|dial|bib|"
    r"cartoon|comic|meme|emblem|watermark|subtitle|sticky|print(?:ed)?|scoreboard|fl[iy]er|leaflet|brochure|"
    r"certificate|receipt|calendar|napkin|sky ?writing)s?"
)
SAYS = r"(?:says?|saying|reads?|reading|states?|stating|spells?|spelling|declar(?:es?|ing)|proclaim(?:s|ing))"
WORD = (
    r"(?:words?|texts?|terms?|phrases?|sentence|letters?|script|numerals?|numbers?|inscription|slogan|caption|message|"
    r"title|headline|name|motto|tagline)"
)
MADE = (
    r"(?:written|handwritten|painted|printed|engraved|carved|inscribed|spelled|spelt|lettered|embroidered|stitched|"
    r"etched|scrawled|scribbled|sprayed|stamped|drawn|tattooed|emblazoned|embossed|stencill?ed|rendered|displayed|"
    r"shown|branded|burned|burnt|chalked|traced|imprinted|projected|typed|scratched|chisell?ed|piped|woven|knitted|"
    r"sewn)"
)

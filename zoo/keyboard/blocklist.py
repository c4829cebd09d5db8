"""Words that are never suggested unless a person switches the list off; typing one is always allowed."""

from __future__ import annotations

# Slurs, swear words and sexual insults, in lower case; a word is blocked when it is equal to one, whatever its case.
BLOCKED = frozenset(
    """
    arse arsehole arseholes ass asses asshole assholes bastard bastards beaner bitch bitches bitching bitchy blowjob
    blowjobs bollocks boner boob boobies boobs bullshit bugger buggers chink chinks clit cock cocks cocksucker
    cocksuckers coon coons crap crappy cum cumming cunt cunts dago damn damned darkie dick dickhead dickheads dicks
    dildo dyke dykes fag faggot faggots fags fuck fucked fucker fuckers fuckin fucking fucks gook gooks goddamn
    goddamned gypped handjob homo homos honky hooker hookers horny jackass jerkoff jizz kike kikes kraut motherfucker
    motherfuckers motherfucking nazi nazis negro negroes nigga niggas nigger niggers orgasm paki pakis penis piss
    pissed pissing porn porno prick pricks pussies pussy queer queers rape raped raper rapes raping rapist rapists
    redskin retard retarded retards semen sex sexy shit shits shitted shitting shitty skank slut sluts slutty spic
    spics suicide tit tits titties titty towelhead tranny turd turds twat twats vagina wank wanker wankers wetback whore
    whores wog wogs wop
    """.split()
)

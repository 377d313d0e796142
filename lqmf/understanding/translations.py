"""Other languages' words for what LQMF does, in plain English keywords. Tables; words are without accents.

Only the words that carry a request are here; grammar is left alone, because the rules do not need it.
"""

from __future__ import annotations

from lqmf.understanding.patterns import Pattern

_VERBS = {
    "quantize": """quantisiere quantisieren quantisier quantisiert quantisierst quantifie quantifier quantifiez
        quantise quantiser quantisez quantifica quantificar quantifique cuantiza cuantizar cuantice
        cuantizame cuantifica cuantificar quantizza quantizzare quantizzami quantizzi quantiza quantizar
        quantizem kwantiseer kwantiseren gekwantiseerd kwantyzuj konvertiere konvertieren komprimiere komprimieren
        convertis convertir convertissez convierte convertir converti convertire converte converta
        converter comprime comprimer comprimir comprimi comprimere verkleinere reduis reduce reduire
        reducir riduci reduz reduzir kvantisera kvantiser umwandeln wandle""",
    "compare": """vergleiche vergleichen vergleich comparez comparer comparar comparame confronta confrontare
        compara vergelijk porownaj jamfor paragona""",
    "delete": """losche loschen loesche loeschen entferne entfernen supprime supprimer supprimez efface effacer
        borra borrar elimina apague elimine borre supprimez eliminar eliminare cancella cancellare apaga
        apagar exclui excluir exclua remova remover quita verwijder verwijderen usun wis""",
    "show": """zeige zeig anzeigen montre montrer montrez affiche afficher affichez muestra mostrar muestrame
        mostra mostrami mostre mostrare toon pokaz ensename""",
    "list": "liste auflisten aufzahlen listez lister lista listar elenca elencare elenco lijst listame",
    "test": """teste testen tester testez prueba probar pruebalo prova provare testa testar testare pruebe
        evalue evalua valuta avalie""",
    "verify": """prufe uberprufe uberprufen pruefe verifie verifier verifiez verifica verificar verificare
        verifique controlla""",
    "explain": """erklare erklar erklaere erklaren explique expliquer expliquez explica explicar explicame spiega
        spiegami spiegare wyjasnij""",
    "benchmark": "benchmarke benchmarken",
    "rebuild": "reconstruis reconstruire reconstruye reconstruir ricostruisci reconstroi reconstrua",
    "resume": """fortsetzen reprends reprendre reanuda reanudar continua riprendi riprendere retoma retomar
        retome""",
    "cancel": """abbrechen abbruch annule annuler annulez cancelar cancelalo annulla annullare annuleer anuluj
        abbreche brich""",
    "help": "hulp hilfe hilf aide aidez ayuda ayudame aiuto aiutami ajuda ajude pomoc",
    "exit": "beenden ende tschuss quitter salir salida esci uscire sair afsluiten adios",
    "chat": "chatten chatte chatter chattare chatear",
    "talk": """sprich rede reden sprechen parle parler discute discuter habla hablar charla charlar parla parlare
        fala falar praat""",
    "start": "starten starte lancer lance demarre iniciar inicia avvia start",
    "plan": "plane planen planifie planifier planificar pianifica planeja planejar planea",
    "serve": "sers servir servi serviere bereitstellen",
    "make": """mache mach erstelle erstellen fais faire faites cree creer haz hacer crea crear fai fare creare
        faz fazer faca crie criar genera generar genere""",
    "want": """mochte moechte veux voudrais quiero quisiera voglio vorrei quero queria gostaria brauche besoin
        necesito""",
    "recommend": """empfiehl empfehlen empfiehlst recommandes recommander recomiendas recomendar consigli
        consigliare recomenda""",
    "switch": "wechsle wechsel wechseln passe bascule cambia cambiar cambie passa mude muda troque troca",
    "use": "nutze verwende benutze benutz nimm utilise utilisez usa usar utiliza usando utilizza",
}
_NOUNS = {
    "models": "modellen modelle modeles modelos modelli",
    "model": "modell modele modelo modello",
    "perplexity": "perplexitat perplexite perplejidad perplessita perplexidade",
    "experiments": "experiences experimente experimenten experimentos esperimenti",
    "runs": "laufe laeufe executions ejecuciones esecuzioni execucoes essais intentos tentativi durchlaufe",
    "file": "bestand datei fichier archivo fichero arquivo ficheiro",
    "history": "geschiedenis verlauf historique historial cronologia historico storico",
    "statistics": "statistieken statistik statistiken statistiques estadisticas statistiche estatisticas",
    "failed": """mislukte mislukt gefaald rates ratees fehlgeschlagene fehlgeschlagenen fehlgeschlagen
        gescheiterte gescheiterten echoue echoues
        echouees fallidos fallidas fallaron falliti fallite fallido falhou falharam falhos falhas
        falhados""",
    "successful": """geslaagde geslaagd gelukt gelungene erfolgreiche erfolgreichen reussis reussies exitosos
        exitosas riusciti riuscite bem-sucedidos
        bem-sucedidas""",
    "memory": "geheugen speicher arbeitsspeicher memoire memoria",
    "ram": "hauptspeicher",
    "gpu": "grafikkarte grafik videokaart videokaarten",
    "cpu": "prozessor processeur procesador processore processador",
    "quality": "qualitat qualite calidad qualita qualidade",
    "smallest": "kleinste kleinstmoglich kleinstmogliche piccolo menor",
    "fastest": "schnellste rapide rapida rapido veloce",
    "smaller": "kleiner kleinere kleineres kleineren",
    "faster": "schneller schnellere",
    "biggest": "grosste grossten",
    "best": "beste besten bester meilleur meilleure mejor migliore melhor",
    "context": "kontext contexte contexto contesto",
    "bits": "bity",
    "users": "benutzer nutzer utilisateurs usuarios utenti",
    "difference": "unterschied diferencia differenza diferenca",
    "report": "bericht rapport informe rapporto relatorio",
    "status": "stato estado etat",
    "provider": "anbieter fournisseur proveedor fornitore provedor",
    "calibrate": "kalibriere calibre calibra",
    "quantization": "quantisierung quantification cuantizacion quantizzazione quantizacao",
}
_SMALL = {
    "without": "ohne sans sin senza sem zonder",
    "with": "mit avec con",
    "for": "fur fuer pour para voor",
    "and": "und et",
    "not": "nicht pas nao niet",
    "no": "nein kein keine keinen nee",
    "yes": "ja oui si sim",
    "here": "hier",
    "now": "jetzt maintenant ahora adesso agora nu",
    "same": "dasselbe gleiche gleichen selbe meme mismo misma stesso stessa mesmo mesma",
    "instead": "stattdessen plutot invece",
    "please": "bitte svp stp",
    "all": "alle tous toutes todos todas tutti tutte",
    "my": "mijn meine meinen meiner mein mes mis miei minhas meus mon ma mio mia meu minha",
    "me": "mir moi mi mim",
    "it": "lo ihn esto isso questo",
    "would": "ware waere wurde wuerde serait sarebbe",
    "can": "kann konnte puede pueden puo",
    "should": "soll sollte sollen",
    "if": "wenn falls",
    "part": "teil partie parte",
    "stays": "bleibt queda resta blijft",
    "runs": "lauft laeuft tourne roda gira funziona funciona funktioniert",
    "is enough": "reicht reichen genugt suffit suffisent basta bastano bastan alcanza",
    "versus": "gegenuber",
    "which": "welke welche welches welcher quels quelles quel quelle cuales cual quali quale quais qual",
    "what": "quoi que cosa",
    "is": "ist est es wordt sind zijn sono estao estan",
    "to": "zu naar",
    "fast": "schnell snel",
    "how": "wie como come",
    "big": "gross grande gros tamano",
    "only": "nur seulement solo soltanto somente apenas",
    "but": "aber mais pero",
    "fits": "passt tient rentre cabe entra",
    "as": "als comme",
    "on": "op",
    "of": "van",
    "the": "een het der das den dem le la les il los las gli die del della du do da una un une ein eine einen uma um",
    "supported": "ondersteund unterstutzt supporte soportado supportato suportado",
    "quantized": "quantifies quantises cuantizados cuantizado quantizzati quantizzato quantizados quantizado",
    "card": "karte carte tarjeta scheda placa",
}

WORDS: dict[str, str] = {
    foreign: english
    for table in (_VERBS, _NOUNS, _SMALL)
    for english, words in table.items()
    for foreign in words.split()
}
# "die", "du", "do", "la", "come" and the like are left to English; so is what only looks foreign.
_ENGLISH_TOO = "die do da come un um ma mi me es sin reduce grafik passe"
for _word in _ENGLISH_TOO.split():
    WORDS.pop(_word, None)
WORDS |= {"reduis": "quantize", "un": "the", "sin": "without", "es": "is"}

PHRASES: tuple[tuple[Pattern, str], ...] = tuple(
    (Pattern(pattern), english)
    for pattern, english in (
        (
            r"\bwas kannst du(?: alles)?\b|\bcomment (?:ca|cela) (?:marche|fonctionne)(?: ?-?ca)?\b|\bwie (?:geht"
            r"|funktioniert) das\b"
            r"|\bque (?:puedes|pode|puede) (?:hacer|fazer)\b|\b(?:cosa|che cosa|che) (?:puoi|sai) fare\b"
            r"|\bo que (?:voce )?(?:pode|sabe|consegue) fazer\b|\bwat kun je\b|\bhoe werkt (?:dit|het)\b"
            r"|\b(?:que peux-tu|qu'est-ce que tu peux) faire\b|\bcomo funciona(?: isso| esto)?[ ?!.]*$"
            r"|\bcome funziona[ ?!.]*$",
            "what can you do",
        ),
        (
            r"\bqu'?est[- ]ce que?(?: c'?est)?(?: que)?\b|\bc'?est quoi\b|\bche cos'?e'?(?!\w)|\bcos'?e'?(?!\w)",
            "what is",
        ),
        (
            r"\bo que (?:e|significa)\b|\bque (?:es|significa)\b"
            r"|\bcosa (?:e|significa)\b|\bwas (?:ist|heisst|bedeutet)\b",
            "what is",
        ),
        (r"^non\b(?!-)", "no"),
        (r"\b(?:et|y|e|and) (?:si|se) (?=\w+ \w)", "and if "),
        (
            r"\blohnt (?:es )?sich\b|\bbringt (?:es )?(?:etwas|was)\b|\bvale (?:la pena|a pena)\b|\bvaut(?: (?:le|la))?"
            r" (?:coup|peine)\b|\bne vale la pena\b|\bconviene\b",
            "is it worth",
        ),
        (r"\b(?:frente a|rispetto a|par rapport a|em relacao a|im vergleich zu)\b", "versus"),
        (r"\bdas (?=auf\b|in\b|mit\b|fur\b|gehen\b|laufen\b|passen\b)", "it "),
        (r"\bauf (?=(?:der|dem|den|meiner|meinem|meinen|einer|einem|einen) )", "on "),
        (r"\bim (?=v?ram\b|speicher\b|hauptspeicher\b|arbeitsspeicher\b)", "in "),
        (
            r"\b(?:menos de|moins de|meno di|weniger als|unter|unterhalb von|hochstens|maximal|au plus"
            r"|como maximo|al massimo)\b",
            "under",
        ),
        (r"\b(?:no maximo|sous|sotto|abaixo de|por debajo de|au maximum|inferieur a)\b", "under"),
        (
            r"\b(?:cuanto|quanto|combien) (?:ocupa\w*|pesa\w*|occup\w*|prend\w*|pese\w*|de (?:place"
            r"|memoire) (?:faut|prend)\w*)\b",
            "how big would",
        ),
        (
            r"\bwie ?viel (?:platz|speicher|ram|vram)\b|\b[cq]uanta (?:memoria|v?ram)\b"
            r"|\bcombien de (?:memoire|v?ram)(?: faut[- ]il)?\b",
            "how much memory",
        ),
        (r"\bque veut dire\b|\bwat is\b", "what is"),
        (r"\btarjetas? (?:grafica|de video)s?\b|\bcarte graphique\b|\bscheda (?:grafica|video)\b", "gpu"),
        (r"\bplaca (?:grafica|de video)\b|\bgrafikkarte\b", "gpu"),
        (r"\bs'?il (?:te|vous) plait\b|\bpor favor\b|\bper favore\b|\bper piacere\b", "please"),
        (
            r"\bwie gross\b|\bquelle taille\b|\bque tamano\b|\bquanto (?:grande|spazio|e grande)\b|\bque tamanho\b",
            "how big",
        ),
        (r"\bzeig(?:e)? mir\b|\bmontre[- ]moi\b", "show me"),
        (
            r"\bpeux[- ]tu\b|\bkannst du\b|\bpuedes\b|\bpuoi\b|\bvoce pode\b|\bpouvez[- ]vous\b|\bkonntest du\b",
            "can you",
        ),
        (r"\bje (?:veux|voudrais)\b|\bich (?:mochte|will|moechte)\b|\beu (?:quero|queria)\b", "i want"),
        (
            r"\bkann (?:man |ich )?(.{1,40}?) (?:quantisier|konvertier|komprimier)\w+(?: werden)?",
            r"can \1 be quantized",
        ),
        (
            r"\b(?:peut[- ]on|est[- ]il possible de|se puede|es posible|si puo|e possibile|e possivel|posso|da para)\b",
            "is it possible to",
        ),
        (r"\b(?:peut etre|puede ser|puo essere|pode ser) (?:quant|cuant|conv)\w+", "can be quantized"),
        (r"\b(?:al posto di|au lieu de|en lugar de|en vez de|anstatt|statt|em vez de)\b", "instead of"),
        (
            r"\bam kleinsten\b|\ble plus petit possible\b|\blo mas pequeno posible\b|\bil piu piccolo possibile\b",
            "smallest",
        ),
        (r"\bso klein wie moglich\b|\bo menor possivel\b|\bla plus petite possible\b", "smallest"),
        (r"\bbeste(?:r|n)? qualitat\b|\bmeilleure qualite\b|\bmejor calidad\b|\bmigliore qualita\b", "best quality"),
        (r"\bmelhor qualidade\b|\bmaxima (?:calidad|qualidade)\b|\bmassima qualita\b", "best quality"),
        (r"\b(?:melde mich|connecte[- ]moi|connectez[- ]moi|einloggen|anmelden)\b", "login"),
        (r"\b(?:iniciar sesion|inicia sesion|accedi a|fazer login|effettua il login)\b", "login"),
        (r"\b(?:abmelden|deconnecte[- ]moi|cerrar sesion|cierra sesion|disconnettimi|ausloggen)\b", "logout"),
        (
            r"\bhow much memory (?:serve|occorre|ci vuole|necesita|hace falta)\b",
            "how much memory would",
        ),
        (r"^past (?=<)", "fits "),
        (r"^(?:fits|cabe|rentre) (?=<)", "would it fit: "),
        (r"^(?:y|e|et) (?=con|en|si|para|avec|pour|sur|per|em)", "and "),
        (r"\b(?:was ware(?: wenn)?|et si|y si|e se)(?= )", "what if"),
        (r"\b(?:plus petite?s?|mas pequen[oa]|piu piccol[oa])\b", "smaller"),
        (r"\b(?:plus (?:rapide|vite)|mas rapido|piu veloce)\b", "faster"),
        (r"\bich (.{0,15}?)(?:laufen lassen|betreiben) kann\b", r"i \1can run"),
        (r"\b(?:kann ich|puis[- ]je|je peux|puedo)\b", "can i"),
        (r"\b(?:laufen lassen|faire (?:tourner|marcher)|ejecutar|correr)\b", "run"),
        (r"\ben mi\b", "on my"),
        (r"\b(?:gleichzeitig|zugleich|en meme temps|a la (?:fois|vez)|al mismo tiempo)\b", "at once"),
        (r"(?<=modelli) ho\b|(?<=esperimenti) ho\b", " i have"),
        (r"\blass mich\b|\blaat me\b|\blaisse[- ]moi\b|\bdejame\b|\blasciami\b|\bdeixa[- ]me\b", "let me"),
        (r"\bausprobieren\b", "test"),
        (
            r"\b(?:auf wiedersehen|au revoir|hasta (?:luego|la vista|pronto|manana)|arrivederci|tchau|ate logo"
            r"|tot ziens|doei"
            r"|bis (?:bald|spater|morgen|dann)|a bientot|a plus tard|adeus|a dopo)\b",
            "goodbye",
        ),
        (
            r"\b(?:annule|cancela|annulla|cancele) (?:ca|cela|tout|eso|esto|todo|isso|isto|tudo|tutto|questo)\b",
            "cancel it",
        ),
        (
            r"\bpasse[rz]? (?:a|sur|au)\b|\bwechsle? (?:zu|auf|nach)\b|\b(?:schakel|wissel) (?:over )?naar\b",
            "switch to",
        ),
        (
            r"\bschalte? (?:um )?(?:auf|zu)\b|\b(?:cambia|pasa|passa|muda|troca|mude|cambie) (?:a|al|para|pra|por)\b",
            "switch to",
        ),
        (r"\b(?:habe ich|hab ich|ai[- ]je|j'?ai|eu tenho|tenho|tengo|heb ik)\b", "i have"),
        (r"\bwie schnell\b|\bhoe snel\b|\b(?:que tan|como de|quao) rapido\b|\bquanto (?:e )?veloce\b", "how fast"),
        (r"\bhoe groot (?:wordt|zou|is)\b|\bhoeveel (?:ruimte|geheugen)\b", "how big would"),
        (r"\bhoe (?:goed|is de kwaliteit van)\b|\bwie gut\b", "how good"),
        (
            r"\b(?:kun|kan) je\b|\bkunt u\b|\bpode(?:ria)?s? (?=quan|com|conv)|\bpodrias\b|\bpotresti\b"
            r"|\bpourrais[- ]tu\b",
            "can you",
        ),
        (
            r"\bik (?:wil|zou graag|heb nodig)\b|\bich (?:hatte gern|brauche)\b|\bme gustaria\b|\bho bisogno di\b",
            "i want",
        ),
        (r"(?<=[a-z])-(?:moi|nous)\b", " me"),
        (
            r"\bwas weisst du (?:uber|von)\b|\bque sais[- ]tu (?:de|sur)\b|\bque sabes (?:de|sobre)\b",
            "what do you know about",
        ),
        (
            r"\bwat weet je (?:van|over)\b|\b(?:cosa|che) sai (?:di|su)\b|\bo que (?:voce )?sabe sobre\b",
            "what do you know about",
        ),
        (
            r"\bvas[- ]y\b|\badelante\b|\bavanti\b|\bvai\b|\bpode ir\b|\bga door\b|\bmach das\b|\bleg los\b|\ballez\b",
            "go ahead",
        ),
        (r"\bl'?\s?(historique|aide|historial)\b", r"\1"),
        (r"\bwas kannst du\b|\bque sais[- ]tu faire\b|\bque puedes hacer\b", "what can you do"),
        (r"\bdas gleiche\b|\bla meme chose\b|\blo mismo\b|\bla stessa cosa\b|\bo mesmo\b", "the same"),
    )
)

# Scripts without spaces between words, or with endings: whole stems, found anywhere.
STEMS: tuple[tuple[Pattern, str], ...] = tuple(
    (Pattern(pattern), f" {english} ")
    for pattern, english in (
        (r"量化|量子化|양자화(?:해\s*줘|하기|해)?|квант(?:уй|овать|изуй|изовать|изируй|уйте)\w*", "quantize"),
        (r"转换|变换|変換|변환|конвертируй\w*|сожми|压缩|圧縮", "quantize"),
        (r"比较|比較|对比|비교|сравни\w*", "compare"),
        (r"删除|刪除|削除|삭제|удали\w*", "delete"),
        (r"测试|測試|テスト|테스트|протестируй\w*", "test"),
        (r"列出|一覧|목록|список|покажи список", "list"),
        (r"显示|顯示|表示|보여|покажи", "show"),
        (r"帮助|幫助|ヘルプ|도움말|помощь", "help"),
        (r"取消|キャンセル|취소|отмена|отмени", "cancel"),
        (r"历史|歷史|履歴|история", "history"),
        (r"统计|統計|통계|статистика", "statistics"),
        (r"什么是|什麼是|とは(?:何ですか)?|что такое", "what is"),
        (r"模型|モデル|모델|модел\w+", "model"),
        (r"位(?=元)?元?|ビット|비트|бит(?:а|ов|ный|ную)?(?!\w)", "bits"),
        (r"不用|不要|没有|ない|без", "without"),
        (r"显卡|顯卡|グラフィックカード|видеокарт\w+", "gpu"),
        (r"处理器|プロセッサ|процессор\w*", "cpu"),
        (r"退出|終了|종료|выход", "exit"),
    )
)
